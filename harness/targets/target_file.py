"""Reads a target file (TOML) into a description, strictly: all faults at once, each with its form.

The file names others (keys, certificates, users), found beside it; their contents become part of
the description. `{env:NAME}` anywhere is the value of an environment variable. The keys are told in
`docs/targets.md`; `harness.targets.keys` has them for this module.
"""

import csv
import io
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.targets import template
from harness.targets.description import (
    BEARER,
    FORM,
    HTTP2,
    JSON,
    NONE,
    TEXT,
    Address,
    BadAddress,
    Call,
    Description,
    Pairs,
    Rows,
    Scores,
    Stream,
    Submit,
    Tls,
    Token,
    Users,
    parse_address,
    specified_scores,
    specified_stream,
    specified_submit,
)
from harness.targets.faults import Faults, TableReader, overlapping
from harness.targets.fields import BadPath, parse_path
from harness.targets.keys import ALGORITHMS, CALL_KEYS, KEYS
from harness.targets.users import DEFAULT_CLAIMS, BadToken, private_key

_TOKEN_CHARS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ENV = re.compile(r"(?<!\\)\{env:(\w*)\}")
FRAMING = ("content-length", "transfer-encoding")


class BadTarget(ValueError):
    """The file describes no server. The message has a line for each fault."""


def read_target_file(path: Path, environ: Mapping[str, str], *, host: str = "") -> Description:
    """The server that a file describes, at `host` where one is given. Raises BadTarget."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise BadTarget(f"--target {path}: {reason}") from None
    try:
        return describe(text, path.parent, environ, host=host)
    except BadTarget as error:
        lines = str(error).splitlines()
        raise BadTarget("\n".join(f"{path.name}: {line}" for line in lines)) from None


def environment_values(path: Path, environ: Mapping[str, str]) -> list[str]:
    """The values that a file takes from the environment, so that they are not shown."""
    names = dict.fromkeys(_ENV.findall(path.read_text("utf-8")))
    return [environ[name] for name in names if name in environ]


def describe(text: str, folder: Path, environ: Mapping[str, str], *, host: str = "") -> Description:
    """The same of a file's text; files that it names are in `folder`. Raises BadTarget."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadTarget(f"no TOML: {error}") from None
    return _Reading(document, folder, environ, host).description()


class _Reading:
    """One reading of one file."""

    def __init__(
        self, document: dict[str, Any], folder: Path, environ: Mapping[str, str], host: str
    ) -> None:
        self._faults = Faults()
        self._folder, self._environ, self._host = folder, environ, host
        self._document = self._with_environment(document)
        self._top = self._table("")

    def description(self) -> Description:
        top = self._top
        if top.text("http", "1.1") not in ("1.1", "1"):
            top.fault(f'http = "{top.text("http")}": {HTTP2}')
        address = self._address()
        tls = self._tls()
        users = self._users()
        token = self._token()
        has_token = bool(users.token) or token is not None
        self._names = {"user", "name", *(users.rows[0] if users.rows else ())}
        if has_token:
            self._names.add("token")
        if token is not None:
            self._check("token", [*_holes(token.claims), *_holes(token.header)], ("now", "uuid"))
        found = Description(
            address=address,
            name=top.text("name"),
            submit=self._submit(has_token),
            scores=self._scores(has_token),
            stream=self._stream(has_token),
            users=users,
            token=token,
            tls=tls,
        )
        if self._faults.lines:
            raise BadTarget("\n".join(self._faults.lines))
        return found

    def _table(self, where: str) -> TableReader:
        table = self._document if not where else self._document.get(where, {})
        return TableReader(where, table, KEYS[where], self._faults)

    def _with_environment(self, value: Any, where: str = "") -> Any:
        if isinstance(value, str):
            return _ENV.sub(lambda match: self._variable(match[1], where), value)
        if isinstance(value, dict):
            return {
                name: self._with_environment(inner, where or (name if _is_table(inner) else ""))
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._with_environment(inner, where) for inner in value]
        return value

    def _variable(self, name: str, where: str) -> str:
        if name not in self._environ:
            self._faults.add(where, f"{{env:{name}}}: the environment has no {name or 'such name'}")
            return ""
        # What a variable holds is no template.
        return self._environ[name].replace("{", "\\{")

    def _address(self) -> Address:
        nowhere = Address("http", "127.0.0.1", 80)
        own = None
        if "url" in self._top:
            try:
                own = parse_address(self._top.text("url", "http://127.0.0.1"))
            except BadAddress as error:
                self._top.fault(f"url {error}")
                return nowhere
        if self._host:
            try:
                given = parse_address(self._host)
            except BadAddress as error:
                self._faults.add("", f"--host {error}")
                return nowhere
            # The paths are the file's, unless a path is given, too.
            base = given.base or (own.base if own else "")
            return msgspec.structs.replace(given, base=base)
        if own is None:
            self._top.fault(f"url is missing: {KEYS['']['url'].form}, or give --host")
        return own or nowhere

    def _file(self, table: TableReader, name: str) -> str:
        if name not in table or not table.text(name):
            return ""
        path = self._folder / table.text(name)
        try:
            return path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8"
            table.fault(f"{name} {table.text(name)}: {reason}")
            return ""

    def _tls(self) -> Tls:
        table = self._table("tls")
        for name in ("ca_file", "cert_file", "key_file"):
            if (text := self._file(table, name)) and "-----BEGIN" not in text:
                table.fault(f"{name} {table.text(name)}: no PEM")
        if "key_file" in table and "cert_file" not in table:
            table.fault(f"key_file without cert_file: {KEYS['tls']['cert_file'].form}")
        if table.flag("insecure") and "ca_file" in table:
            table.fault("insecure trusts any server, so ca_file has no meaning: leave one out")
        return Tls(
            ca=self._read("tls", "ca_file"),
            cert=self._read("tls", "cert_file"),
            key=self._read("tls", "key_file"),
            key_password=table.text("key_password"),
            server_name=table.text("server_name"),
            insecure=table.flag("insecure"),
        )

    def _read(self, where: str, name: str) -> str:
        """A file that was read, and whose faults were told, before."""
        quiet = TableReader(where, self._document.get(where, {}), KEYS[where], Faults())
        return self._file(quiet, name)

    def _users(self) -> Users:
        table = self._table("users")
        rows: tuple[dict[str, str], ...] = ()
        if "file" in table and (text := self._file(table, "file")):
            rows = self._rows(table, text)
        columns = set(rows[0]) if rows else set()
        default = next((f"{{{name}}}" for name in ("id", "user") if name in columns), "{number}")
        found = Users(
            id=table.text("id", default),
            name=table.text("name", "{name}" if "name" in columns else ""),
            token=table.text("token", "{token}" if "token" in columns else ""),
            rows=rows,
        )
        known = columns | {"number"}
        for name, text in (("id", found.id), ("name", found.name), ("token", found.token)):
            for hole in template.holes_in(text):
                if hole.name not in known:
                    table.fault(f"{name}: no {{{hole.name}}}; there are {_listed(known)}")
        return found

    def _rows(self, table: TableReader, text: str) -> tuple[dict[str, str], ...]:
        delimiter = table.text("delimiter", ",")
        if len(delimiter) != 1:
            table.fault(f"delimiter must be one character, as in {KEYS['users']['delimiter'].form}")
            return ()
        lines = csv.reader(io.StringIO(text), delimiter=delimiter)
        columns = [name.strip() for name in next(lines, [])]
        name = table.text("file")
        if bad := [c for c in columns if not re.fullmatch(r"[A-Za-z_]\w*", c)]:
            table.fault(f"file {name}: the first line names the columns; {bad[0]!r} is no name")
            return ()
        if taken := [c for c in columns if c in template.DYNAMIC]:
            table.fault(f"file {name}: {{{taken[0]}}} has a meaning already: rename the column")
            return ()
        rows = []
        for fields in lines:
            if not fields:
                continue
            if len(fields) != len(columns):
                told = f"{len(fields)} fields, and {len(columns)} columns"
                table.fault(f"file {name}, line {lines.line_num}: {told}")
                return ()
            rows.append(dict(zip(columns, (field.strip() for field in fields), strict=True)))
        if not rows:
            table.fault(f"file {name} holds no user")
        return tuple(rows)

    def _token(self) -> Token | None:
        if "token" not in self._document:
            return None
        table = self._table("token")
        algorithm = table.text("algorithm", "HS256")
        if algorithm not in ALGORITHMS:
            table.fault(f"algorithm {algorithm!r}: there are {', '.join(ALGORITHMS)}")
        if "secret" in table and "key_file" in table:
            table.fault("secret and key_file: give one of them")
        key = self._file(table, "key_file") if "key_file" in table else table.text("secret")
        key = key.strip() if "key_file" in table else key.replace("\\{", "{")
        if not key and algorithm != "none" and not self._faults.lines:
            wanted = "secret" if algorithm.startswith("HS") else "key_file"
            table.fault(f"{wanted} is missing: {KEYS['token'][wanted].form}")
        elif key and algorithm != "none" and not algorithm.startswith("HS"):
            try:
                private_key(key)
            except BadToken as error:
                table.fault(f"key_file: {error}")
        return Token(
            algorithm=algorithm,
            key=key,
            claims=table.object("claims", dict(DEFAULT_CLAIMS)),
            header=table.object("header", {}),
        )

    # The three calls

    def _call(self, where: str, default: Call, has_token: bool, *, auth: bool) -> Call:
        table = self._table(where)
        method = table.text("method", default.method)
        if not re.fullmatch(r"[A-Z]{1,20}", method):
            table.fault(f"method must be capital letters, as in {CALL_KEYS['method'].form}")
        path = table.text("path", default.path)
        if path and not path.startswith("/"):
            table.fault(
                f"path must start with a slash, as in {CALL_KEYS['path'].form}, not {path!r}"
            )
        if "?" in path:
            table.fault(f"path has a query: write it as {CALL_KEYS['query'].form}")
        kind, body = self._body(table, default, method)
        query = table.pairs("query")
        if "query" not in table and "path" not in table:
            query = default.query
        headers = _merged(default.headers, self._top.pairs("headers"), table.pairs("headers"))
        call = Call(
            method=method,
            path=path,
            query=query,
            headers=headers,
            cookies=_merged(self._top.pairs("cookies"), table.pairs("cookies")),
            kind=kind,
            body=body,
        )
        for name, value in headers:
            if not _TOKEN_CHARS.fullmatch(name) or "\n" in value or "\r" in value:
                table.fault(f"headers: {name!r} is no name and value of a header")
            if name.lower() in FRAMING:
                table.fault(f"headers: {name} is set by the harness")
        if has_token and auth and not any(hole.name == "token" for hole in _holes_of(call)):
            call = msgspec.structs.replace(call, headers=(*headers, ("Authorization", BEARER)))
        return call

    def _body(self, table: TableReader, default: Call, method: str) -> tuple[str, Any]:
        given = [name for name in ("json", "form", "body") if name in table]
        if len(given) > 1:
            table.fault(f"{' and '.join(given)}: a request has one body, so give one of them")
        match given[:1]:
            case ["json"]:
                value = table.any("json")
                if not isinstance(value, dict | list):
                    value = table.object("json", {})
                return JSON, value
            case ["form"]:
                return FORM, table.pairs("form")
            case ["body"]:
                return (TEXT if table.text("body") else NONE), table.text("body")
        return (NONE, None) if method in ("GET", "HEAD", "DELETE") else (default.kind, default.body)

    def _check(self, where: str, holes: "list[template.Hole]", dynamic: tuple[str, ...]) -> None:
        known = self._names | set(dynamic)
        for hole in holes:
            if hole.name not in known:
                what = f"no {{{hole.name}}}; there are {_listed(known)}"
                if hole.name == "token":
                    what = "{token} comes from [token] or from [users] token, and there is neither"
                self._faults.add(where, what)
            elif told := template.fault_of(hole):
                self._faults.add(where, told)

    def _path(self, table: TableReader, name: str, default: str) -> str:
        text = table.text(name, default)
        try:
            parse_path(text)
        except BadPath as error:
            table.fault(f"{name}: {error}")
            return default
        return text

    def _submit(self, has_token: bool) -> Submit:
        table = self._table_quietly("submit")
        call = self._call("submit", specified_submit(), has_token, auth=True)
        self._check("submit", _holes_of(call), ("increment", "key", "number", "now", "uuid"))
        if not any(hole.name == "increment" for hole in _holes_of(call)):
            table.fault("no {increment} anywhere: the request must say how many points")
        when = []
        for path, value in table.object("when", {}).items():
            try:
                parse_path(path)
            except BadPath as error:
                table.fault(f"when: {error}")
            when.append((path, value))
        accepted = table.statuses("accepted", ((200, 299),))
        refused, unknown = table.statuses("refused", ()), table.statuses("unknown", ())
        named = [("refused", refused), ("unknown", unknown)]
        if "accepted" in table:
            named.insert(0, ("accepted", accepted))
        if told := overlapping(named):
            table.fault(told)
        return Submit(
            call=call,
            accepted=accepted,
            refused=refused,
            unknown=unknown,
            when=tuple(when),
            id=self._path(table, "id", ""),
            increments=table.span("increments"),
        )

    def _rows_of(self, table: TableReader, default: Rows) -> Rows:
        return Rows(
            list=self._path(table, "list", default.list),
            user=self._path(table, "user", default.user),
            score=self._path(table, "score", default.score),
        )

    def _scores(self, has_token: bool) -> Scores:
        table = self._table_quietly("scores")
        call = self._call("scores", specified_scores(), has_token, auth=table.flag("auth"))
        self._check("scores", _holes_of(call), ("now", "uuid", "limit", "offset"))
        return Scores(
            call=call,
            rows=self._rows_of(table, Rows(list="$")),
            accepted=table.statuses("accepted", ((200, 200),)),
        )

    def _stream(self, has_token: bool) -> Stream:
        table = self._table_quietly("stream")
        call = self._call("stream", specified_stream(), has_token, auth=table.flag("auth"))
        self._check("stream", _holes_of(call), ("now", "uuid", template.LAST_EVENT_ID))
        return Stream(
            call=call,
            rows=self._rows_of(table, Rows()),
            events=table.texts("events", ("update",)),
        )

    def _table_quietly(self, where: str) -> TableReader:
        """A table whose unknown keys are told by its call."""
        table = self._document.get(where, {})
        known = {k: v for k, v in table.items() if k in KEYS[where]} if _is_table(table) else {}
        return TableReader(where, known, KEYS[where], self._faults)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _holes(value: Any) -> "list[template.Hole]":
    return template.holes_in(value)


def _holes_of(call: Call) -> "list[template.Hole]":
    return template.holes_in([call.path, call.query, call.headers, call.cookies, call.body or ""])


def _listed(names: set[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _merged(*layers: Pairs) -> Pairs:
    """Names and values of all layers; the last one counts, whatever the case of the name."""
    found: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for name, value in layer:
            found[name.lower()] = (name, value)
    return tuple(found.values())
