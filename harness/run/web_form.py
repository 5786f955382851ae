"""The form of Locust's web UI as a run needs it: what matters first, wrong values answered at once.

Locust sorts a form's fields by name inside a closed section, and starts whatever was typed. The
server's side goes through Flask's public hooks; opening the section needs a few lines of script.
"""

import os
from pathlib import Path
from typing import Any

from flask import Response, before_render_template, jsonify, request
from locust.env import Environment
from locust.runners import LocalRunner

from harness.measure.settings import OPTIONS
from harness.net.target import TargetError, find_target
from harness.wrong_use import check_options
from scoreboard_cli.group import CommandError

ABOUT = {f"scoreboard_{option.name}": option.about for option in OPTIONS}
REPORT_PATH = "/scoreboard/report"
COLUMN = "Figure"
"""The head of the tab's first column."""
SECTION = "Custom parameters"
"""What Locust calls the section of a form that holds our options."""
OPENING = f"""<style>
  /* In reach, however many options there are. */
  form button[type=submit] {{ position: sticky; bottom: 8px; z-index: 2; }}
  @media (max-width: 600px) {{
    .verdict td:nth-child(2) {{ min-width: 50vw; max-width: 50vw; overflow-wrap: anywhere; }}
  }}
</style>
<script>
  // Opens each new form's section once; a person may close it again. Locust makes a label of the
  // name of a variable: `Scoreboard Duration S (…)`, and no link of an address.
  const opened = new WeakSet();
  new MutationObserver(() => {{
    for (const button of document.querySelectorAll(".MuiAccordionSummary-root")) {{
      if (button.textContent !== "{SECTION}" || opened.has(button)) continue;
      opened.add(button);
      if (button.getAttribute("aria-expanded") === "false") button.click();
    }}
    const labels = "label, legend span, .MuiFormControlLabel-label";
    for (const {{firstChild: text}} of document.querySelectorAll(labels))
      if (text?.data?.startsWith("Scoreboard "))
        text.data = text.data.replace(/^Scoreboard (.*?)(?: Ms| S)? \\(/, "$1 (");
    for (const head of document.querySelectorAll("th:first-child"))
      if (head.textContent === "{COLUMN}") head.closest("table").classList.add("verdict");
    for (const cell of document.querySelectorAll("td")) {{
      const href = cell.textContent;
      if (cell.firstElementChild || !href.endsWith("{REPORT_PATH}")) continue;
      const link = document.createElement("a");
      cell.replaceChildren(Object.assign(link, {{href, target: "_blank", textContent: href}}));
    }}
  }}).observe(document.getElementById("root"), {{childList: true, subtree: true}});
</script>
</body>"""


def install(web_ui: Any) -> None:
    """Change the form of this web UI."""
    app, environment = web_ui.app, web_ui.environment
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False}

    def complete(_: Any, context: dict[str, Any], **__: Any) -> None:
        if found := context.get("template_args"):
            _complete(found)

    # A signal keeps no receiver alive that nothing else holds.
    app.extensions["scoreboard_form"] = complete
    before_render_template.connect(complete, app)

    @app.before_request
    def answer_wrong_values() -> Response | None:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        options = dict(vars(environment.parsed_options)) if environment.parsed_options else {}
        problem = wrong_values(options, request.form, environment)
        if not problem:
            return None
        return jsonify({"success": False, "message": problem, "host": environment.host})

    @app.after_request
    def open_section(response: Response) -> Response:
        if response.mimetype == "text/html" and not response.is_streamed:
            page = response.get_data(as_text=True)
            if "window.templateArgs" in page:
                response.set_data(page.replace("</body>", OPENING))
        return response


def _complete(arguments: dict[str, Any]) -> None:
    """The server that a run would use stands in the form; without one Locust's notice is right."""
    if not arguments.get("host"):
        try:
            target = find_target(host=None, mysql_url="", environ=os.environ, folder=Path.cwd())
        except TargetError:
            target = None
        if target is not None:
            arguments["host"] = target.base_url
            arguments["missing_host_warning"] = False
    for name, option in arguments.get("extra_options", {}).items():
        # The default, which ends the command line's help, stands in the field.
        option["help_text"] = ABOUT.get(name, option["help_text"])


def load_processes(environment: Environment) -> int:
    """How many load processes this machine will have; 0 where they join from elsewhere."""
    if isinstance(environment.runner, LocalRunner):
        return 1
    return max(0, getattr(environment.parsed_options, "processes", None) or 0)


def wrong_values(options: dict[str, Any], form: Any, environment: Environment) -> str:
    """What is wrong with the options once a form has changed them; empty when a run can begin."""
    for name, value in form.items():
        if name in options:
            options[name] = value == "true" if isinstance(options[name], bool) else value
    host = str(form.get("host") or options.get("host") or "") or None
    try:
        settings = check_options(options, host=host, processes=load_processes(environment))
        target = find_target(
            host=host,
            mysql_url="",
            environ=os.environ,
            folder=Path.cwd(),
            target_file=settings.target,
        )
    except (CommandError, TargetError, ValueError) as error:
        return "; ".join(str(error).splitlines())
    if target is None:
        return "no server: start one with `make up`, or name one as Host"
    return ""
