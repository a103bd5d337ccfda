/** What a key may be good for, with what that means; the server's table is the same. */
export const scopes: readonly (readonly [scope: string, what: string])[] = [
  ["messages:send", "Send messages and broadcasts as users of the app"],
  ["users:read", "See who is connected, sessions, and how much waits in mailboxes"],
  ["sessions:close", "Close sessions"],
  ["mailboxes:read", "Read what waits in mailboxes"],
  ["mailboxes:clear", "Remove what waits in mailboxes"],
  ["keys:manage", "List and revoke the app's keys, and make keys that may do no more than itself"],
  ["webhooks:read", "See webhooks, and what became of their events"],
  ["webhooks:manage", "Send events of webhooks again, and test webhooks"],
  ["stats:read", "See counters and rates of the server, and the nodes of its cluster"],
  ["journal:read", "Read the journal of the app's devices, and their states"],
  ["journal:write", "Write events of the app's devices into the journal"],
  ["nearby:read", "See where the app's users are"],
  ["services:read", "See all services, their instances and where these are"],
  ["services:write", "Register and remove instances of any service, whose requests they get then"],
];
