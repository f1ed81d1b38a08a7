"""What a reply holds, whichever flavour of the client has made it."""

from tests.component.hostile import OK, Bench, always

from loadstone import Reply


def test_a_reply_holds_the_same_in_both_flavours_also_over_a_connection_that_was_kept(flavours, serve) -> None:
    server = serve(always(OK))
    benches = {name: Bench(path) for name, path in flavours.items()}
    clients = {name: bench.client(server.url) for name, bench in benches.items()}

    # The second request is one that the compiled client answers without Reply's constructor.
    held = {name: [contents(client.get("/", name="front page")) for _ in range(2)] for name, client in clients.items()}
    for bench in benches.values():
        bench.close()

    assert held["compiled"] == held["pure"]
    assert held["pure"][0] == held["pure"][1]


def contents(reply: Reply) -> dict[str, object]:
    """Return the value of each slot, of times only the type; AttributeError for one that was not set."""
    found = {slot: getattr(reply, slot) for slot in Reply.__slots__}
    return {**found, "elapsed": type(found["elapsed"])}
