"""The Lua scripts, and calling them by digest."""

from __future__ import annotations

import hashlib
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import redis

from ._errors import BadArgument, ScriptError, code_of, text_of
from ._transport import Transport, Word


class Script(NamedTuple):
    """A script, byte for byte as it is in scripts/, and what EVALSHA takes for it."""

    name: str
    source: bytes
    sha1: str


def read_scripts(directory: Optional[Union[str, pathlib.Path]] = None) -> Dict[str, Script]:
    """The scripts of a directory, or those of this package, by name, as SHA1SUMS there lists them."""
    found = pathlib.Path(directory) if directory else pathlib.Path(__file__).resolve().parent / "scripts"
    try:
        lines = (found / "SHA1SUMS").read_text().splitlines()
    except OSError as error:
        raise ScriptError(f"no SHA1SUMS: {error}") from error
    scripts = {}
    for line in lines:
        digest, file = line.split()
        source = (found / file).read_bytes()
        if hashlib.sha1(source, usedforsecurity=False).hexdigest() != digest:
            raise ScriptError(f"{found / file} is not what SHA1SUMS says")
        name = file[: -len(".lua")]
        scripts[name] = Script(name, source, digest)
    return scripts


class Caller:
    """Calls scripts by digest, and sends those that the server lacks."""

    def __init__(self, transport: Transport, scripts: Dict[str, Script], preloaded: bool):
        self.transport, self.scripts, self.preloaded = transport, scripts, preloaded
        # Replicas, and users who may not write, run EVALSHA_RO; Redis 6.2 lacks it. On a cluster redis-py sends
        # neither to replicas, and asks the server with each EVALSHA_RO which of its words are keys.
        self._read_only: List[Tuple[str, str]] = [("EVALSHA_RO", "EVAL_RO"), ("EVALSHA", "EVAL")]
        if transport.is_cluster:
            self._read_only.reverse()

    async def call(
        self, name: str, keys: Sequence[Word], arguments: Sequence[Word], read_only: bool = False
    ) -> Any:
        """Call a script with these KEYS and ARGV on the master or, if read_only, wherever it may run."""
        script, words = self.scripts[name], [len(keys), *keys, *arguments]
        if not read_only:
            return await self._send(script, ("EVALSHA", "EVAL"), words)
        first, second = self._read_only  # another call may turn them round before this one has its answer
        try:
            return await self._send(script, first, words)
        except redis.RedisError as error:
            # Said by the server, or by redis-py, which asks it for its commands.
            unknown = "unknown command" in str(error) or "doesn't exist in Redis commands" in str(error)
            if not unknown and code_of(error) != "NOPERM":
                raise
        reply = await self._send(script, second, words)
        self._read_only = [second, first]
        return reply

    async def _send(self, script: Script, commands: Tuple[str, str], words: Sequence[Word]) -> Any:
        by_digest, by_source = commands
        try:
            try:
                return await self.transport.execute(by_digest, script.sha1, *words)
            except redis.RedisError as error:
                if code_of(error) != "NOSCRIPT":
                    raise
                if self.preloaded:
                    raise _missing(script) from None
            # The source goes to the node that lacks it, which keeps it: to load a script on every node would wait
            # for one that does not answer.
            try:
                return await self.transport.execute(by_source, script.source, *words)
            except redis.RedisError as error:
                if code_of(error) != "NOPERM":
                    raise
            await self.provide(script)  # a user may be one who may load scripts, and not send them
            return await self.transport.execute(by_digest, script.sha1, *words)
        except redis.RedisError as error:
            if code_of(error) == "BADARG":
                raise BadArgument(text_of(error)) from error
            raise

    async def provide(self, script: Script) -> None:
        """Load the script on all nodes, or look for a preloaded one."""
        if not self.preloaded:
            await self.transport.execute_everywhere("SCRIPT LOAD", script.source)
        elif not (await self.transport.execute_everywhere("SCRIPT EXISTS", script.sha1))[0]:
            raise _missing(script)


def _missing(script: Script) -> ScriptError:
    return ScriptError(f"not on the server: {script.name}.lua {script.sha1}")
