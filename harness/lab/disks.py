"""The lab's disks: a small file system for each store, in a file, that can fill up or lose power.

A disk is an ext4 file system in a file (a loop device). What a store wrote and did not sync is in
the kernel's page cache, not yet in that file; so a copy of the file, taken after the store was
killed and before anything is written back, is what a machine finds after its power was cut. The
kernel may have written back some of it by itself, as it may on any machine; what was synced is
there. Sectors are not torn, and the order of writes within one sync is the kernel's.
"""

import os
import shutil
import subprocess
import time
import zlib
from pathlib import Path

from harness.lab.network import run

SIZE_MB = 320
_BLOCK = 4096


def settled(folder: Path) -> None:
    """Everything on this disk survives a loss of power from now on. For what the lab itself puts
    there: an operator who sets up a server does not lose its power in the same seconds."""
    run("sync", "--file-system", str(folder))


class Disk:
    """One mounted file system. `image` is its file, `mount` where it is."""

    def __init__(self, image: Path, mount: Path) -> None:
        self.image = image
        self.mount = mount

    def make(self) -> None:
        """Create and mount it, empty. Raises LabError."""
        self.mount.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(SIZE_MB << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        self.attach()

    def attach(self) -> None:
        """Mount what the file has; the journal is replayed."""
        run("mount", "-o", "loop,noatime,commit=60", str(self.image), str(self.mount))

    def detach(self) -> None:
        """Unmount it. Who still holds a file in it keeps it for a moment."""
        for _ in range(100):
            done = subprocess.run(["umount", str(self.mount)], capture_output=True, check=False)
            if done.returncode == 0 or not os.path.ismount(self.mount):
                return
            time.sleep(0.02)
        run("umount", "-l", str(self.mount))

    def cut_power(self) -> int:
        """Lose every write that was not synced; how many blocks of 4 KiB those were. All
        processes that write to it must be dead."""
        kept = self.image.with_suffix(".kept")
        run("cp", "--sparse=always", str(self.image), str(kept))
        before = self._blocks()
        self.detach()
        kept.replace(self.image)
        self.attach()
        after = self._blocks()
        return sum(after.get(block) != content for block, content in before.items())

    def _blocks(self) -> dict[tuple[str, int], int]:
        """A checksum of each block of each file."""
        found = {}
        for path in self.mount.rglob("*"):
            if not path.is_file():
                continue
            with path.open("rb") as file:
                number = 0
                while block := file.read(_BLOCK):
                    found[str(path), number] = zlib.crc32(block)
                    number += 1
        return found

    def fill(self) -> int:
        """Leave no room; how many bytes that took."""
        filler = self.mount / "filler"
        free = shutil.disk_usage(self.mount).free
        with filler.open("wb") as file:
            step = free
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, 2), step)
                except OSError:
                    step //= 2
        return filler.stat().st_size

    def free(self) -> None:
        """Give the room back."""
        (self.mount / "filler").unlink(missing_ok=True)
