// One user of k6: a request and a check, at k6's best published settings (the rest are flags of `k6 run`).
// BENCH_MODE is keep_alive, fresh (a connection for each request) or parsed (the body is JSON that is parsed and checked).
import { check } from "k6";
import http from "k6/http";

const url = __ENV.BENCH_URL;
const mode = __ENV.BENCH_MODE;
const parses = mode === "parsed";

export const options = {
  vus: Number(__ENV.BENCH_USERS),
  duration: __ENV.BENCH_DURATION,
  discardResponseBodies: !parses,
  noConnectionReuse: mode === "fresh",
  insecureSkipTLSVerify: true,
};

export default function () {
  const reply = http.get(url);
  if (parses) {
    const order = reply.json();
    check(order, { "order is whole": (it) => it.lines.length === 100 && it.customer === "Ada" });
  } else {
    check(reply, { answered: (it) => it.status === 200 });
  }
}
