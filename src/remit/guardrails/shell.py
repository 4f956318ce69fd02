"""What a shell command line runs, reads and writes. Parsed by tree-sitter's grammar of bash, never by pattern.

What runs is found through quotes, variables aside: `'r'm`, `\\rm`, `$'\\x72m'` are all `rm`. Commands that run
others (`sudo`, `env`, `xargs`, `sh -c`, `find -exec`, …) are looked into. A command whose name is only known when
it runs (`$X`, `$(cat f)`) makes the line `dynamic`, and so does a text that can't be parsed.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec

from remit.core.detectors import Detector, Finding, Places, Report, texts
from remit.guardrails.libraries import library

_SHELLS = frozenset("sh bash zsh dash ksh mksh fish ash busybox pwsh powershell cmd".split())
_INTERPRETERS = {
    "python": "-c", "python2": "-c", "python3": "-c", "perl": "-eE", "ruby": "-e", "node": "-ep", "php": "-r",
    "lua": "-e", "osascript": "-e", "deno": "", "bun": "-e", "Rscript": "-e", "awk": "", "gawk": "", "mawk": "",
    "nawk": "", "sed": "", "tclsh": "", "expect": "-c",
}  # fmt: skip
_RUNS_OTHERS = frozenset(
    "sudo doas su env nice nohup timeout time xargs command builtin exec stdbuf setsid ionice chroot watch parallel"
    " unshare nsenter chrt taskset script flock strace ltrace gdb systemd-run pkexec runuser ssh docker podman"
    " kubectl entr proxychains torsocks faketime firejail bwrap caffeinate at batch".split()
)
_ELEVATES = frozenset("sudo doas su pkexec runuser chroot nsenter unshare setcap".split())
_NETWORK = frozenset(
    "curl wget nc ncat netcat socat ssh scp sftp rsync ftp tftp telnet git-remote-http aria2c http https httpie"
    " nslookup dig host ping nmap openssl lynx w3m links axel rclone gsutil aws az gcloud mail sendmail mutt".split()
)
_PERILOUS = frozenset("PATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT IFS BASH_ENV ENV PROMPT_COMMAND PS4 PYTHONPATH".split())
_PERILOUS |= frozenset("PYTHONSTARTUP PERL5OPT PERL5LIB NODE_OPTIONS RUBYOPT GIT_SSH_COMMAND EDITOR PAGER".split())
_ANSI = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|(.))", re.S)
_ANSI_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
# The grammar's scanner (0.25) indexes a table of 256 with whatever follows `{`, and crashes on most of Unicode. To bash
# these are letters of a word, so they go through it as letters.
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ARMOURED = re.compile("\xff([0-9a-f]{1,6})\xff")
_DEEPEST = 8
"""Command lines within command lines that are looked into."""


class ShellFacts(msgspec.Struct, frozen=True):
    """What the command lines in a call's arguments do; several are taken together."""

    parsed: bool = True
    commands: tuple[str, ...] = ()
    """Names of all that runs, without directories, those run by other commands included."""
    count: int = 0
    """How many commands, in sequence, in pipes or inside others."""
    dynamic: bool = False
    """What runs is only known when it runs: a variable or a substitution where a command's name stands, or no
    telling what the text means."""
    writes: tuple[str, ...] = ()
    """Files that redirections write to; `?` where the name is only known when it runs."""
    reads: tuple[str, ...] = ()
    substitutions: bool = False
    """`$(…)`, backticks, `<(…)`."""
    pipes_to_shell: bool = False
    """What was read or fetched is run: `… | sh`, `sh <(…)`, `eval "$(…)"`."""
    inline: bool = False
    """Code of another language in the arguments: `python -c`, `perl -e`, `awk '…'`."""
    elevated: bool = False
    network: bool = False
    """A command that opens connections, or bash's /dev/tcp."""
    background: bool = False
    environment: tuple[str, ...] = ()
    """Variables set that change what other programs run: `PATH`, `LD_PRELOAD`, `IFS`, …"""
    functions: bool = False
    """Functions or aliases are defined: a name may mean something else."""


def shell(longest: int = 8_000, name: str = "shell") -> Detector[ShellFacts]:
    """Returns a detector of what shell command lines do. Text of more than `longest` characters counts as not parsed.

    Raises:
        BadInput: tree-sitter or its grammar of bash is not installed.
    """
    sitter, grammar = library("tree_sitter"), library("tree_sitter_bash")
    parser = sitter.Parser(sitter.Language(grammar.language()))

    def look(places: Places) -> Report[ShellFacts]:
        whole = _Reading(parser, longest)
        findings: list[Finding] = []
        for pointer, text in texts(places):
            reading = _Reading(parser, longest)
            reading.text(text, 0)
            findings += [Finding(mark, pointer, 0, len(text)) for mark in sorted(reading.flags)]
            whole.join(reading)
        return Report(whole.facts(), tuple(findings))

    return Detector(name, ShellFacts, look)


class _Reading:
    def __init__(self, parser: Any, longest: int) -> None:
        self._parser = parser
        self._longest = longest
        self.flags: set[str] = set()
        self.commands: list[str] = []
        self.writes: set[str] = set()
        self.reads: set[str] = set()
        self.environment: set[str] = set()

    def join(self, other: _Reading) -> None:
        self.flags |= other.flags
        self.commands += other.commands
        self.writes |= other.writes
        self.reads |= other.reads
        self.environment |= other.environment

    def facts(self) -> ShellFacts:
        said = self.flags
        return ShellFacts(
            parsed="unparsed" not in said,
            commands=tuple(sorted(set(self.commands))),
            count=len(self.commands),
            dynamic=bool(said & {"dynamic", "unparsed"}),
            writes=tuple(sorted(self.writes)),
            reads=tuple(sorted(self.reads)),
            substitutions="substitutions" in said,
            pipes_to_shell="pipes_to_shell" in said,
            inline="inline" in said,
            elevated="elevated" in said,
            network="network" in said,
            background="background" in said,
            environment=tuple(sorted(self.environment)),
            functions="functions" in said,
        )

    def text(self, text: str, depth: int) -> None:
        """Reads a command line."""
        if depth > _DEEPEST or len(text) > self._longest or "\0" in text:
            self.flags.add("unparsed")
            return
        # A line goes on after a backslash, in the middle of a word too; the grammar takes that for a space.
        tree = self._parser.parse(_NOT_ASCII.sub(_armoured, text.replace("\\\n", "")).encode())
        if tree.root_node.has_error:
            self.flags.add("unparsed")
        pending = [tree.root_node]
        while pending:  # not recursion: the text is a stranger's, and so is its depth
            node = pending.pop()
            self._node(node, depth)
            pending += node.children

    def _node(self, node: Any, depth: int) -> None:
        kind = node.type
        if kind == "command":
            self._command(node, depth)
        elif kind in ("command_substitution", "process_substitution"):
            self.flags.add("substitutions")
        elif kind == "file_redirect":
            self._redirect(node)
        elif kind == "pipeline":
            self._pipeline(node)
        elif kind == "heredoc_redirect":
            self._heredoc(node, depth)
        elif kind == "variable_assignment":
            name = node.child_by_field_name("name")
            if name is not None and _text(name) in _PERILOUS:
                self.environment.add(_text(name))
        elif kind == "function_definition":
            self.flags.add("functions")
        elif kind == "&":
            self.flags.add("background")

    def _command(self, node: Any, depth: int) -> None:
        named = node.child_by_field_name("name")
        if named is None:
            return
        words = [word for word in node.children_by_field_name("argument")]
        name = _literal(named)
        if name is None:
            self.commands.append("?")
            self.flags.add("dynamic")
            return
        if any(sign in name for sign in "*?[{~") and name not in ("[", "[["):
            self.flags.add("dynamic")  # a pattern: which file runs depends on the folder
        self._ran(name, words, depth)
        if _base(name) in _SHELLS and (
            any(child.type == "herestring_redirect" for child in node.children) or _fed(node)
        ):
            self.flags.add("pipes_to_shell")

    def _ran(self, name: str, words: list[Any], depth: int) -> None:
        base = _base(name)
        self.commands.append(base)
        literal = [_literal(word) for word in words]
        if base in _ELEVATES:
            self.flags.add("elevated")
        if base in _NETWORK or (base == "git" and any(word in ("push", "fetch", "pull", "clone") for word in literal)):
            self.flags.add("network")
        if base == "alias" or base == "enable":
            self.flags.add("functions")
        if base in ("export", "declare", "typeset", "readonly", "local"):
            self.environment |= {w.partition("=")[0] for w in literal if w and w.partition("=")[0] in _PERILOUS}
        code = _INTERPRETERS.get(base) or _INTERPRETERS.get(base.rstrip("0123456789."))
        if base in _INTERPRETERS or code is not None:
            self._interpreter(base, code or "", literal)
        if base in _SHELLS:
            self._shell(base, words, literal, depth)
        elif base in ("eval", "trap"):
            self._evaluated(words, literal, depth)
        elif base in ("source", "."):
            if any(_substitutes(word) for word in words):
                self.flags.add("pipes_to_shell")
            self.flags.add("dynamic")
        elif base == "find" or base == "fd":
            self._after(literal, words, ("-exec", "-execdir", "-ok", "-okdir", "-x", "-X"), depth)
            if "-delete" in literal:
                self.commands.append("rm")
            self.writes |= {str(b or "?") for a, b in pairwise(literal) if a in _FIND_WRITES}
        elif base == "tee":
            self.writes |= {word or "?" for word in literal if not (word or "").startswith("-")}
        elif base == "dd":
            self.writes |= {word[3:] for word in literal if word and word.startswith("of=")}
        elif base in _RUNS_OTHERS:
            self._inner(base, words, literal, depth)
        if any(word is not None and "/dev/tcp/" in word for word in literal):
            self.flags.add("network")

    def _interpreter(self, base: str, code: str, literal: list[str | None]) -> None:
        if base in ("awk", "gawk", "mawk", "nawk"):
            texts = " ".join(word or "" for word in literal)
            if "system" in texts or "getline" in texts or "|" in texts or ">" in texts or None in literal:
                self.flags.add("inline")
        elif base == "sed":
            # `e` runs commands, `w` writes files; a script that holds neither only edits what passes through.
            if any(word and re.search(r"(^|[;/\d$}])\s*[ew](\s|$)|/[a-z]*e[a-z]*$", word) for word in literal):
                self.flags.add("inline")
            if any(word and (word.startswith("-i") or word.startswith("--in-place")) for word in literal):
                self.writes |= {literal[-1] or "?"}
        elif base == "deno":
            self.flags |= {"inline"} if "eval" in literal else set()
        elif any(
            word is not None
            and word.startswith("-")
            and not word.startswith("--")
            and any(c in word[1:] for c in code[1:])
            for word in literal
        ) or any(word in ("--eval", "--execute", "--print") for word in literal):
            self.flags.add("inline")

    def _shell(self, base: str, words: list[Any], literal: list[str | None], depth: int) -> None:
        for index, word in enumerate(literal):
            if word is not None and re.fullmatch(r"[-/]\w*[cC]\w*|-[Cc]ommand", word) and index + 1 < len(words):
                inner = literal[index + 1]
                if inner is None:
                    self.flags |= {"dynamic"} | ({"pipes_to_shell"} if _substitutes(words[index + 1]) else set())
                else:
                    self.text(inner, depth + 1)
                return
        if words and words[0].type == "process_substitution":
            self.flags.add("pipes_to_shell")
        if base == "busybox" and literal and literal[0] is not None and depth < _DEEPEST:
            self._ran(literal[0], words[1:], depth + 1)

    def _evaluated(self, words: list[Any], literal: list[str | None], depth: int) -> None:
        if None in literal:
            self.flags |= {"dynamic"} | ({"pipes_to_shell"} if any(map(_substitutes, words)) else set())
        else:
            self.text(" ".join(word or "" for word in literal), depth + 1)

    def _after(self, literal: list[str | None], words: list[Any], options: tuple[str, ...], depth: int) -> None:
        for index, word in enumerate(literal[:-1]):
            if word in options and depth < _DEEPEST:
                if (inner := literal[index + 1]) is None:
                    self.flags.add("dynamic")
                else:
                    self._ran(inner, words[index + 2 :], depth + 1)

    def _inner(self, base: str, words: list[Any], literal: list[str | None], depth: int) -> None:
        """Looks into a command that runs another one: past its options, the variables it sets, and its own operands."""
        if depth >= _DEEPEST:
            self.flags.add("unparsed")
            return
        for index, word in enumerate(literal):
            if word is None:
                self.flags.add("dynamic")
                return
            before = literal[index - 1] if index else ""
            name, is_set, _ = word.partition("=")
            if is_set and name.isidentifier():
                self.environment |= {name} & _PERILOUS
                continue
            if word.startswith("-") or re.fullmatch(r"[\d.]+[smhdGMKk]?", word) or word in ("{}", "--"):
                continue
            if before and before.startswith("-") and before in _TAKE_VALUE.get(base, ()):
                continue
            if base in ("ssh", "docker", "podman", "kubectl", "chroot", "flock", "runuser", "script"):
                self._remote(base, words[index:], literal[index:], depth)
                return
            if base == "command" and before in ("-v", "-V"):
                return
            if " " in word.strip():
                self.text(word, depth + 1)  # `watch 'rm x'`, `su -c "…"`, `parallel "…"`
                return
            self._ran(word, words[index + 1 :], depth + 1)
            return

    def _remote(self, base: str, words: list[Any], literal: list[str | None], depth: int) -> None:
        """`ssh HOST command…`, `docker exec BOX command…`: what follows the place it runs in is a command line."""
        skipped = 1
        if base in ("docker", "podman", "kubectl"):
            if literal[0] not in ("exec", "run"):
                return
            skipped = 2
        rest = [word for word in literal[skipped:] if word is None or word != "--"]
        if not rest:
            return
        if None in rest:
            self.flags.add("dynamic")
        self.text(" ".join(word or "" for word in rest), depth + 1)

    def _heredoc(self, node: Any, depth: int) -> None:
        """What a shell reads from a here-document is a command line, be it fed directly or through a pipe."""
        readers = [*_first_commands(node.parent)] if node.parent is not None else []
        for child in node.named_children:
            if child.type in ("command", "pipeline"):
                parts = [child] if child.type == "command" else child.named_children
                readers += [found for part in parts for found in _first_commands(part)]
        for reader in readers:
            named = reader.child_by_field_name("name")
            name = _literal(named) if named is not None else None
            if name is not None and _base(name) in _SHELLS:
                self.flags.add("pipes_to_shell")
                for child in node.named_children:
                    if child.type == "heredoc_body":
                        self.text(_text(child), depth + 1)
                return

    def _redirect(self, node: Any) -> None:
        target = node.child_by_field_name("destination")
        signs = {child.type for child in node.children}
        if target is None or _text(target).isdigit() or _text(target) == "-":
            return
        name = _literal(target)
        if name is not None and name.startswith(("/dev/tcp/", "/dev/udp/")):
            self.flags.add("network")
        if signs & {">", ">>", "&>", "&>>", ">|", ">&", "<>"}:
            self.writes.add(name if name is not None else "?")
        else:
            self.reads.add(name if name is not None else "?")

    def _pipeline(self, node: Any) -> None:
        # After a here-document the pipe goes on inside of it: `cat <<X | sh`.
        fed = node.parent is not None and node.parent.type == "heredoc_redirect"
        for part in node.named_children[0 if fed else 1 :]:
            for command in _first_commands(part):
                named = command.child_by_field_name("name")
                name = _literal(named) if named is not None else None
                literal = [_literal(word) for word in command.children_by_field_name("argument")]
                if name is None:
                    self.flags.add("dynamic")
                elif _runs_input(_base(name), literal):
                    self.flags.add("pipes_to_shell")


_FIND_WRITES = ("-fprint", "-fprintf", "-fls", "-fprint0")
_TAKE_VALUE = {
    "sudo": ("-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T"), "doas": ("-u", "-C"), "nice": ("-n",),
    "env": ("-u", "-C"),
    "xargs": ("-n", "-P", "-I", "-L", "-d", "-E", "-s", "-a"), "timeout": ("-s", "-k"), "stdbuf": ("-i", "-o", "-e"),
    "ssh": ("-i", "-p", "-l", "-o", "-F", "-J", "-L", "-R", "-D", "-b", "-c", "-m"), "watch": ("-n",), "chrt": ("-p",),
    "systemd-run": ("-p", "--unit"), "runuser": ("-u",), "exec": ("-a",), "strace": ("-o", "-e", "-p"), "su": ("-s",),
    "docker": ("-u", "-e", "-w", "-v", "--name"), "kubectl": ("-n", "-c", "--context"), "parallel": ("-j",),
}  # fmt: skip


def _runs_input(base: str, literal: list[str | None]) -> bool:
    """Whether a command runs what it is fed: a shell or interpreter without a script of its own, or what runs one."""
    operands = [word for word in literal if word is None or not word.startswith("-")]
    if base in _SHELLS:
        return not any(word and re.fullmatch(r"-\w*c\w*", word) for word in literal) and (
            not operands or any(word in ("-s", "/dev/stdin", "-") for word in literal)
        )
    if base in _INTERPRETERS and base not in ("awk", "gawk", "mawk", "nawk", "sed"):
        return not literal or "-" in literal
    if base in _RUNS_OTHERS or base in ("source", "."):
        return any(word is not None and (_base(word) in _SHELLS or _base(word) in ("python", "python3", "perl"))
                   for word in operands) or base in ("at", "batch", "parallel")  # fmt: skip
    return False


def _first_commands(node: Any) -> list[Any]:
    if node.type == "command":
        return [node]
    if node.type in ("redirected_statement", "subshell", "compound_statement", "list", "negated_command"):
        return [found for child in node.named_children for found in _first_commands(child)]
    return []


def _fed(node: Any) -> bool:
    parent = node.parent
    if parent is None or parent.type != "redirected_statement":
        return False
    return any(child.type in ("heredoc_redirect", "herestring_redirect") for child in parent.children) or any(
        child.type == "file_redirect" and any(part.type == "process_substitution" for part in child.children)
        for child in parent.children
    )


def _substitutes(node: Any) -> bool:
    return node.type in ("command_substitution", "process_substitution") or any(map(_substitutes, node.children))


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _text(node: Any) -> str:
    return _ARMOURED.sub(lambda match: chr(int(match.group(1), 16)), str(node.text.decode()))


def _armoured(match: re.Match[str]) -> str:
    return f"\xff{ord(match.group()):x}\xff"


def _literal(node: Any) -> str | None:
    """Returns what a word means, quotes and escapes undone; None if only running it would tell."""
    kind = node.type
    if kind in ("word", "command_name", "number", "variable_name", "extglob_pattern", "regex"):
        if node.named_children:
            return _joined(node)
        return re.sub(r"\\(.)", r"\1", _text(node).replace("\\\n", ""), flags=re.S)
    if kind == "raw_string":
        return _text(node)[1:-1]
    if kind == "ansi_c_string":
        return _ANSI.sub(_unescaped, _text(node)[2:-1])
    if kind == "string_content":
        return re.sub(r"\\([$`\"\\])", r"\1", _text(node).replace("\\\n", ""))
    if kind in ("string", "translated_string", "concatenation"):
        return _joined(node)
    return None


def _joined(node: Any) -> str | None:
    if node.type == "string" and not node.named_children:
        return _text(node)[1:-1]
    parts = [_literal(child) for child in node.named_children]
    return None if None in parts else "".join(part or "" for part in parts)


def _unescaped(match: re.Match[str]) -> str:
    hexadecimal, short, long, octal, letter = match.groups()
    if digits := hexadecimal or short or long:
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF else "?"
    if octal:
        return chr(int(octal, 8) & 0xFF)
    return _ANSI_LETTERS.get(letter, letter)
