"""`remit review` on a terminal: the whole screen, for a day of reviews. What it does is what the commands do."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Label, Static

from remit.cli.editing import edited_by_hand
from remit.cli.output import escaped, until
from remit.cli.review import is_in, rules_of, run_of, titled
from remit.cli.review_page import print_review
from remit.cli.ruling import in_a_line
from remit.cli.settings import asynchronous, settings
from remit.cli.stores import open_store
from remit.cli.who import who_acts
from remit.core.reviews import ReviewState
from remit.errors import RemitError
from remit.runtime.ambient import Ambient, System
from remit.runtime.rulings import Reviewer, Said, claim, comment, release, rule
from remit.runtime.views import review_view
from remit.runtime.waiting import changes
from remit.store.journal import Journal
from remit.store.projections import ReviewRow

_COLUMNS: Final = ("REVIEW", "QUEUE", "FOR", "TITLE", "HELD BY", "VOTES", "TIME LEFT")
_TITLE: Final = 60
"""Characters of a title in the table."""
_TICK: Final = 30.0
"""Seconds after which the times left are written anew."""
_Act = Callable[[], Awaitable[ReviewState]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody typed into a question: a reason or remark, and codes of arguments that took them."""

    text: str
    seen: tuple[str, ...] = ()


class Question(ModalScreen[Answer | None]):
    """Asks for a line of text before something is done; Escape does nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Leave it")]
    CSS = """
    Question { align: center middle; }
    #box { width: 80%; max-width: 100; height: auto; border: round $primary; padding: 1 2; background: $surface; }
    """

    def __init__(self, title: str, about: str, *, needed: bool, codes: int = 0) -> None:
        super().__init__()
        self._title, self._about, self._needed, self._codes = title, about, needed, codes

    def compose(self) -> ComposeResult:
        """Lays it out."""
        with Vertical(id="box"):
            yield Label(Text(self._title, style="bold"))
            yield Label(Text(self._about))
            yield Input(
                placeholder="why, or what you want to say" + ("" if self._needed else " (or nothing)"), id="text"
            )
            if self._codes:
                yield Input(placeholder=f"the {self._codes} codes at the ends of the long arguments", id="codes")
            yield Label(Text("Enter does it, Escape leaves it", style="dim"))

    def on_mount(self) -> None:
        """Begins with the text."""
        self.query_one("#text", Input).focus()

    def on_input_submitted(self) -> None:
        """Hands on what was typed, unless something is missing."""
        text = self.query_one("#text", Input).value.strip()
        codes = self.query_one("#codes", Input).value.split() if self._codes else []
        if self._needed and not text:
            self.notify("say why: it is recorded, and the agent is told", severity="warning")
        elif len(codes) < self._codes:
            self.query_one("#codes", Input).focus()
        else:
            self.dismiss(Answer(text, tuple(codes)))

    def action_leave(self) -> None:
        """Does nothing."""
        self.dismiss(None)


class Reviews(App[None]):
    """The queue, a review in full, and keys for what there is to do with it."""

    TITLE = "remit review"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #queue { height: 40%; border: round $primary; }
    #page { border: round $secondary; padding: 0 1; }
    #filter { display: none; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("a", "approve", "Approve"),
        ("d", "deny", "Deny"),
        ("c", "claim", "Claim"),
        ("r", "release", "Release"),
        ("e", "edit", "Edit"),
        ("m", "comment", "Remark"),
        ("slash", "filter", "Filter"),
        ("escape", "unfilter", "All"),
        ("question_mark", "keys", "Keys"),
        ("q", "quit", "Leave"),
    ]

    def __init__(self, journal: Journal, reviewer: Reviewer, ambient: Ambient | None = None) -> None:
        super().__init__()
        self._journal, self._reviewer, self._ambient = journal, reviewer, ambient or System()
        self._waiting: dict[str, ReviewRow] = {}
        self._titles: dict[str, str] = {}
        self._page: dict[str, Any] | None = None
        self._shown = ""

    def compose(self) -> ComposeResult:
        """Lays it out: what waits above, the review below."""
        yield Input(
            placeholder="show what has this in its title, principal, queue, tool or id; Escape shows all",
            id="filter",
        )
        yield DataTable(id="queue", cursor_type="row")
        with VerticalScroll(id="page"):
            yield Static(id="review")
        yield Footer()

    def on_mount(self) -> None:
        """Begins to follow the store."""
        table = self.query_one("#queue", DataTable)
        table.add_columns(*_COLUMNS)
        table.border_title = f"what waits, for {escaped(self._reviewer.name)}"
        table.focus()
        self.run_worker(self._follow(), exclusive=True, group="follow")
        self.set_interval(_TICK, self._fill)

    async def _follow(self) -> None:
        async with aclosing(changes(self._journal)) as every:
            async for rows in every:
                self._waiting |= {row.review: row for row in rows}
                self._waiting = {id: row for id, row in self._waiting.items() if row.open}
                kept = {id: words for id, words in self._titles.items() if id in self._waiting}
                found = [await titled(self._journal, row) for row in rows if row.open]
                self._waiting |= {row.review: row for row, _ in found}
                self._titles = kept | {row.review: title for row, title in found}
                self._fill()
                if any(row.review == self._shown for row in rows):
                    await self._show(self._shown)

    # --- what is seen ---

    def _fill(self) -> None:
        """Writes the table anew, and stays where the cursor was."""
        table = self.query_one("#queue", DataTable)
        now, wanted = self._ambient.now(), self.query_one("#filter", Input).value
        rows = [row for row in self._waiting.values() if is_in(wanted, row, self._titles.get(row.review, ""))]
        rows.sort(key=lambda row: (-row.priority, row.expires, row.review))
        at = self._at()
        table.clear()
        for row in rows:
            held = row.claimed if row.status == "claimed" else ""
            left = row.problem or until(row.expires, now)
            words = self._titles.get(row.review, "")
            words = words if len(words) <= _TITLE else f"{words[: _TITLE - 1]}…"
            votes = f"{row.approvals} of {row.needed}"
            cells = (row.review, row.queue, row.principal, words, held, votes, left)
            table.add_row(*(Text(escaped(str(cell))) for cell in cells), key=row.review)
        ids = [row.review for row in rows]
        if ids:
            now_at = at if at in ids else ids[0]
            table.move_cursor(row=ids.index(now_at))
            if now_at != self._shown:  # a cursor that stays in its row tells nobody that the row is another
                self.run_worker(self._show(now_at), exclusive=True, group="show")
        else:
            self._shown, self._page = "", None
            self.query_one("#review", Static).update(Text("nothing waits"))

    def _at(self) -> str:
        table = self.query_one("#queue", DataTable)
        # With nothing in the table keys move the cursor to rows that aren't there.
        if not table.is_valid_coordinate(table.cursor_coordinate):
            return ""
        return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value or "")

    async def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Shows the review under the cursor."""
        if event.row_key is not None and event.row_key.value:  # the table may be empty, where keys move nowhere
            await self._show(event.row_key.value)

    async def _show(self, review: str) -> None:
        """Shows a review in full: nothing of it is cut, so nothing of it can be approved unread."""
        self._shown, self._page = review, None
        try:
            view = await review_view(self._journal, review)
            run, rules = await run_of(self._journal, view), await rules_of(self._journal, view)
            page = io.StringIO()
            with redirect_stdout(page):  # no `await` in here: others print, too
                print_review(view, run, rules, full=True)
        except RemitError as error:
            self.query_one("#review", Static).update(
                Text(f"it can't be shown, so it can only be denied: {escaped(str(error))}")
            )
            return
        if self._shown == review:
            self._page = view
            self.query_one("#review", Static).update(Text(page.getvalue()))

    # --- what is done ---

    async def action_approve(self) -> None:
        """Approves the call as it is shown, after a question."""
        if view := self._rulable():
            about = f"{escaped(in_a_line(view))}\ndigest {view['version'][:12]}\nA ruling is final."
            ask = Question(f"Approve {view['review']}?", about, needed=False, codes=len(view["seen"]))
            self.push_screen(ask, lambda said: self._rule(view, True, said))

    async def action_deny(self) -> None:
        """Denies the call, after a question: a no is final, and says why."""
        id = self._shown
        if id:
            about = f"{escaped(self._titles.get(id, ''))}\nA no is final; the agent is told your reason."
            ask = Question(f"Deny {id}?", about, needed=True)
            self.push_screen(ask, lambda said: self._rule({"review": id, "version": ""}, False, said))

    def _rule(self, view: dict[str, Any], approved: bool, said: Answer | None) -> None:
        if said is not None:
            words = Said(approved, said.text, digest=view["version"], seen=said.seen)
            self._do(lambda: rule(self._journal, self._ambient, view["review"], self._reviewer, words))

    async def action_claim(self) -> None:
        """Keeps others from ruling on it."""
        if id := self._shown:
            self._do(lambda: claim(self._journal, self._ambient, id, self._reviewer))

    async def action_release(self) -> None:
        """Gives the claim up."""
        if id := self._shown:
            self._do(lambda: release(self._journal, self._ambient, id, self._reviewer))

    async def action_comment(self) -> None:
        """Adds a remark for the other reviewers."""
        if id := self._shown:

            def say(said: Answer | None) -> None:
                if said is not None:
                    self._do(lambda: comment(self._journal, self._ambient, id, self._reviewer, said.text))

            self.push_screen(Question(f"A remark on {id}", "The other reviewers see it.", needed=True), say)

    async def action_edit(self) -> None:
        """Leaves the screen for the editor, and approves what was changed there."""
        if view := self._rulable():
            try:
                with self._left():
                    edited = edited_by_hand(view)
            except Exception as error:  # noqa: BLE001 - an editor may end in any way: nothing was done
                self.notify(escaped(str(error) or "nothing was changed"), severity="warning", markup=False)
                return
            read = tuple(view["seen"][name] for name in view["may_edit"] if name in view["seen"])
            words = Said(True, "", edited, digest=view["version"], seen=read)
            self._do(lambda: rule(self._journal, self._ambient, view["review"], self._reviewer, words))

    def action_unfilter(self) -> None:
        """Shows all that waits again, and hides the line that filters."""
        line = self.query_one("#filter", Input)
        line.value = ""
        line.remove_class("shown")
        self.query_one("#queue", DataTable).focus()

    def action_keys(self) -> None:
        """Says which keys there are."""
        names = {"slash": "/", "question_mark": "?", "escape": "Esc"}
        known = [binding for binding in self.BINDINGS if isinstance(binding, tuple)]
        words = ", ".join(f"{names.get(binding[0], binding[0])} {binding[-1].lower()}" for binding in known)
        self.notify(f"{words}; arrows and PageDown move", title="keys", markup=False, timeout=15)

    def action_filter(self) -> None:
        """Shows or hides the line that filters."""
        line = self.query_one("#filter", Input)
        line.toggle_class("shown")
        if line.has_class("shown"):
            line.focus()
        else:
            self.action_unfilter()

    def on_input_changed(self) -> None:
        """Filters as it is typed."""
        self._fill()

    def on_input_submitted(self) -> None:
        """Goes back to the table."""
        self.query_one("#queue", DataTable).focus()

    def _rulable(self) -> dict[str, Any] | None:
        if self._page is None:
            self.notify("there is nothing to rule on here", severity="warning")
        return self._page

    def _do(self, act: _Act) -> None:
        self.run_worker(self._done(act), exclusive=True, group="act")

    async def _done(self, act: _Act) -> None:
        """Does it; a ruling that is signed leaves the screen, because a key may ask for its passphrase or a touch."""
        try:
            with self._left() if self._reviewer.signer is not None else nullcontext():
                state = await act()
        except RemitError as error:
            self.notify(escaped(str(error)), severity="error", markup=False, timeout=10)
            return
        id = state.opened.review
        about = f": {self._titles[id]}" if self._titles.get(id) else ""
        self.notify(escaped(f"review {id} is {state.status.value}{about}"), markup=False)

    @contextmanager
    def _left(self) -> Iterator[None]:
        """Gives the terminal back for a while, where there is one."""
        try:
            with self.suspend():
                yield
        except SuspendNotSupported:
            yield


@asynchronous
async def start() -> None:
    """Shows the screen until it is left."""
    found = settings()
    async with await open_store(found) as journal:
        await Reviews(journal, await who_acts(journal, found.review_key)).run_async()
