"""Run `raysift` in this process, and read what it has left."""

import json

from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError


def run(*arguments):
    """The result of a command; an exception that is no message for the operator is raised."""
    done = CliRunner().invoke(raysift.cli, list(arguments), env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, (SettingsError, SystemExit)):
        raise done.exception
    return done


def words(done):
    """What a command has printed, whatever the width of the terminal."""
    return " ".join(done.output.split())


def content(place):
    """The bytes of every file."""
    return {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}


def proof(machine):
    """The only proof that was written."""
    (file,) = (machine.state / "erasures").glob("erasure-*.json")
    return json.loads(file.read_text())
