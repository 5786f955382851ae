"""Which services may be started empty while the others run on."""

from pathlib import Path

import pytest

from stack.console import Console
from stack.services import Mysql
from stack.settings import StackSettings
from stack.supervision.requests import Requests
from stack.supervision.supervisor import Supervisor
from stack.supervision.unit import Unit


async def test_mysql_is_not_wiped_while_processes_hold_its_password(tmp_path: Path) -> None:
    supervisor = Supervisor(StackSettings(data_dir=tmp_path), Console())
    mysql = Mysql(tmp_path / "mysql")
    supervisor.units["mysql"] = Unit(mysql, 0)
    mysql.folder.mkdir()
    (mysql.folder / "password").write_text("known to all")

    with pytest.raises(ValueError, match="mysql is not wiped"):
        await Requests(supervisor).handle({"op": "start", "process": "mysql", "wipe": True})

    assert mysql.password == "known to all"
