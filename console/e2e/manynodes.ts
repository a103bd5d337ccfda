/** What a server answers of nodes in every state that there is. */
export function manyNodes(): object {
  const ago = (s: number): string => new Date(Date.now() - 1000 * s).toISOString();
  const both = ["connector", "processor"];
  const up = (n: number, more: object = {}): object => ({
    id: `id-${n}`,
    name: `node${n}`,
    address: `10.0.0.${n}:8088`,
    status: "up",
    roles: both,
    version: "v1.4.0",
    sessions: 12_345 * n,
    load: 0.31 * n,
    since: ago(86_400 * n),
    copies: { streams: 14, behind: 0 },
    ...more,
  });
  return {
    members: [
      up(1, { self: true }),
      up(2, { version: "v1.5.0-rc.1-17-g0123456", copies: { streams: 14, behind: 3 } }),
      up(3, { status: "unreachable", since: ago(42) }),
      up(4, { status: "joining", since: ago(7), reason: "waiting for the parts of the users to have keepers: 4 of 6 have", copies: undefined }),
      up(5, { status: "leaving", since: ago(2), roles: ["connector"], copies: undefined }),
      up(6, { name: "connector-with-a-name-as-long-as-they-come-in-the-europe-west-zone", address: "connector-with-a-name.europe-west.internal.example:8088", roles: ["connector"], copies: undefined }),
    ],
    store: { streams: 14, short: ["A", "B", "C", "D", "E"], due: ["A", "B", "C"], gone: [{ name: "node3", streams: 9, behind: 9, since: ago(44) }, { name: "node7", streams: 5, behind: 5, since: ago(4_000) }] },
  };
}
