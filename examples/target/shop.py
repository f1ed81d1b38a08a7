"""What the target answers: a small shop with a catalogue, sessions, baskets and orders. Nothing here knows a socket."""

import gzip
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from counting import Count

HOUR_SECONDS = 3600
PRODUCTS = [{"id": number, "name": f"product {number}", "cents": 100 + 37 * number} for number in range(1, 51)]
CATALOGUE = json.dumps(PRODUCTS).encode()
CATALOGUE_GZIP = gzip.compress(CATALOGUE)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come in whole; names of headers are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    has_certificate: bool = False

    def number(self, name: str, default: float) -> float:
        return float(self.query.get(name, default))

    def json(self) -> dict:
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: the body at once, or `pieces` with a pause before each but the first."""

    status: int
    body: bytes = b""
    kind: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)
    wait_seconds: float = 0.0
    pieces: tuple[bytes, ...] = ()
    pause_seconds: float = 0.0


class Shop:
    """The routes, and what they remember."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.reset()

    def reset(self) -> None:
        self.count.reset()
        self.errors_due = 0.0
        self.tokens: set[str] = set()
        self.baskets: dict[str, list[int]] = {}
        self.searched: set[str] = set()
        self.orders = 0

    def answer(self, request: Request) -> Answer:
        route = ROUTES.get((request.method, request.path)) or ROUTES.get((None, request.path))
        if route is not None:
            return route(self, request)
        first, _, rest = request.path.removeprefix("/").partition("/")
        if first == "products" and rest.isdigit() and 1 <= int(rest) <= len(PRODUCTS):
            return as_json(PRODUCTS[int(rest) - 1])
        if first == "status" and rest.isdigit() and int(rest) in range(200, 600):
            return Answer(int(rest))
        return Answer(404, b"not here")

    def front(self, _request: Request) -> Answer:
        return Answer(200, b"hello world")

    def order(self, _request: Request) -> Answer:
        return Answer(201, b'{"order":1}')

    def slow(self, request: Request) -> Answer:
        return Answer(200, b"slow", wait_seconds=request.number("ms", 100) / 1000)

    def stalls(self, request: Request) -> Answer:
        """Stand still for the first `for` of every `every` seconds of the clock, as in a fail-over."""
        length = request.number("for", 1)
        return Answer(200, b"on", wait_seconds=max(0.0, length - time.time() % request.number("every", 10)))

    def error(self, request: Request) -> Answer:
        self.errors_due += request.number("rate", 100) / 100
        if self.errors_due < 1:
            return Answer(200, b"maybe")
        self.errors_due -= 1
        return Answer(500, b"maybe")

    def redirect(self, request: Request) -> Answer:
        return Answer(302, headers={"Location": request.query.get("to", "/")})

    def products(self, request: Request) -> Answer:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Answer(200, CATALOGUE_GZIP, kind="application/json", headers={"Content-Encoding": "gzip"})
        return Answer(200, CATALOGUE, kind="application/json")

    def search(self, request: Request) -> Answer:
        """Say in X-Cache whether somebody has searched for the same before."""
        words = request.query.get("q", "")
        headers = {"X-Cache": "hit" if words in self.searched else "miss"}
        self.searched.add(words)
        found = [each for each in PRODUCTS if words in str(each["name"])]
        return Answer(200, json.dumps(found).encode(), kind="application/json", headers=headers)

    def login(self, request: Request) -> Answer:
        """Give a token; an account that is in use is refused, so that nobody else can have it."""
        user = str(request.json().get("user", ""))
        if not user or self.count.add_user(user) > 1:
            return Answer(409 if user else 400, b"this account is in use" if user else b"who?")
        token = secrets.token_hex(8)
        self.tokens.add(token)
        return as_json({"token": token})

    def logout(self, request: Request) -> Answer:
        token = bearer(request)
        if token not in self.tokens:
            return Answer(401, b"who?")
        self.tokens.discard(token)
        return Answer(204)

    def account(self, request: Request) -> Answer:
        return as_json({"points": 7}) if bearer(request) in self.tokens else Answer(401, b"who?")

    def basket(self, request: Request) -> Answer:
        """Keep a basket for each visitor, who is known by a cookie."""
        visitor = cookie(request, "visitor")
        headers = {}
        if visitor not in self.baskets:
            visitor = secrets.token_hex(8)
            headers["Set-Cookie"] = f"visitor={visitor}; Path=/; Max-Age={HOUR_SECONDS}"
            self.baskets[visitor] = []
        if request.method == "POST":
            self.baskets[visitor].append(int(request.json().get("item", 1)))
        items = json.dumps({"items": self.baskets[visitor]}).encode()
        return Answer(201 if request.method == "POST" else 200, items, kind="application/json", headers=headers)

    def checkout(self, request: Request) -> Answer:
        visitor = cookie(request, "visitor")
        items = self.baskets.get(visitor, [])
        if not items:
            return Answer(409, b"the basket is empty")
        self.baskets[visitor] = []
        self.orders += 1
        cents = sum(int(each["cents"]) for each in PRODUCTS if each["id"] in items)
        return as_json({"order": self.orders, "cents": cents}, status=201)

    def partner(self, request: Request) -> Answer:
        return Answer(200, b"welcome") if request.has_certificate else Answer(403, b"no certificate of yours was seen")

    def export(self, request: Request) -> Answer:
        lines = tuple(json.dumps({"line": each}).encode() + b"\n" for each in range(int(request.number("lines", 100))))
        return Answer(200, kind="application/jsonl", pieces=lines or (b"",))

    def news(self, request: Request) -> Answer:
        events = tuple(
            f"id: {each}\ndata: news {each}\n\n".encode() for each in range(int(request.number("events", 5)))
        )
        return Answer(200, kind="text/event-stream", pieces=events, pause_seconds=request.number("ms", 100) / 1000)


ROUTES: dict[tuple[str | None, str], Callable[[Shop, Request], Answer]] = {
    (None, "/"): Shop.front,
    ("POST", "/orders"): Shop.order,
    (None, "/slow"): Shop.slow,
    (None, "/stalls"): Shop.stalls,
    (None, "/error"): Shop.error,
    (None, "/redirect"): Shop.redirect,
    ("GET", "/products"): Shop.products,
    ("GET", "/search"): Shop.search,
    ("POST", "/login"): Shop.login,
    ("DELETE", "/login"): Shop.logout,
    ("GET", "/account"): Shop.account,
    ("GET", "/basket"): Shop.basket,
    ("POST", "/basket"): Shop.basket,
    ("POST", "/checkout"): Shop.checkout,
    ("GET", "/partner"): Shop.partner,
    ("GET", "/export"): Shop.export,
    ("GET", "/news"): Shop.news,
}


def as_json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), kind="application/json")


def bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def cookie(request: Request, name: str) -> str:
    for pair in request.headers.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""
