// What the calls under /v1 answer, as far as these pages look at it.

/** The key that is used here, and what it is good for. */
export interface Own {
  id?: string;
  name?: string;
  app?: string;
  admin: boolean;
  scopes: string[];
  expiresAt?: string;
  /** Those that it may be used for. */
  apps: string[];
}

export interface Classes {
  reliable: number;
  fast: number;
}

/**
 * How the server is doing: the sum of its nodes. Counts are totals since the node that answers began, unless they say how it is now; version, times, memory and
 * goroutines are of that node alone.
 */
export interface Stats {
  at: string;
  startedAt: string;
  uptimeSeconds: number;
  version: string;
  nodes: number;
  sessions: number;
  connections: number;
  users: number;
  messages: { in: Classes; delivered: Classes; proved: number; expired: number; dropped: number };
  mailboxes: { messages: number; bytes: number };
  refused: { socket: Record<string, number>; http: Record<string, number> };
  http: { requests: number; failed: number; connections: number };
  webhooks: { delivered: number; failed: number; dropped: number; waiting: number };
  log: { bytes: number; syncs: number; sync: { p50Seconds: number; p95Seconds: number; p99Seconds: number } };
  memory: { bytes: number; heap: number };
  goroutines: number;
}

export interface Readiness {
  ready: boolean;
  parts: { name: string; ready: boolean; reason?: string }[];
}

export interface Key {
  id: string;
  name?: string;
  app?: string;
  admin: boolean;
  scopes: string[];
  createdAt: string;
  expiresAt?: string;
  lastUsedAt?: string;
  untilRestart?: boolean;
}

/** A key with what its holder presents, which is told once. */
export type MadeKey = Key & { key: string };

export interface OnlineUser {
  userId: string;
  sessions: number;
  since: string;
}

export interface Mailbox {
  messages: number;
  bytes: number;
  oldest?: string;
}

export interface User {
  userId: string;
  online: boolean;
  sessions: number;
  mailbox: Mailbox;
}

export interface Session {
  id: string;
  userId: string;
  since: string;
  address: string;
  transport: string;
}

export interface Waiting {
  id: string;
  storedAt: string;
  expiresAt?: string;
  frame: unknown;
}

export interface Webhook {
  name: string;
  app: string;
  url: string;
  events: string[];
  allowPrivate: boolean;
  state: string;
  waiting: number;
  waitingBytes: number;
  oldest?: string;
  stuckUsers: number;
  delivered: number;
  failed: number;
  dropped: number;
  lastSuccess?: string;
  lastFailure?: { at: string; reason: string };
}

/** What became of an event. */
export interface EndedEvent {
  id: string;
  state: string;
  endedAt: string;
  attempts: number;
  status?: number;
  reason?: string;
  event: unknown;
}

/** The nodes of the cluster, as the one that answers knows them. */
export interface Cluster {
  members: Member[];
  /** Where what is stored is; absent where that is not known, or not these nodes' concern. */
  store?: {
    streams: number;
    /** Those that have fewer complete copies than they should, and of these those that get more now. */
    short: string[];
    due: string[];
    /** Who is not there, and counts for a majority. */
    gone: (Share & { name: string; since?: string })[];
  };
}

export interface Member {
  id: string;
  name: string;
  address: string;
  /** joining, up, leaving or unreachable */
  status: string;
  roles: string[];
  version: string;
  sessions: number;
  /** CPU time over time. */
  load: number;
  /** When it took this status. */
  since: string;
  reason?: string;
  /** Of the node that answers. */
  self?: boolean;
  copies?: Share;
}

/** Of how many streams a node has a copy, and how many of these copies are not complete. */
export interface Share {
  streams: number;
  behind: number;
}

/** The network of domains, as this one sees it. */
export interface Domains {
  /** This one's name; absent if it has none. */
  domain?: string;
  /** Of the description; 0 if there is none, or it is from a file. */
  version: number;
  /** Where the description comes from; absent where there are no other domains. */
  source?: {
    from: string;
    following: boolean;
    stored: boolean;
    /** In effect; absent as long as there is no description. */
    since?: string;
    confirmed?: string;
    trouble?: string;
    kind?: string;
    troubledAt?: string;
  };
  neighbours: Neighbour[];
  domains: OtherDomain[];
  links: DomainLink[];
}

/** A domain to which there is a link. */
export interface Neighbour {
  domain: string;
  cost: number;
  /** The connection that this domain has made, which brings what the neighbour has for it. */
  receiving: LinkState;
  /** The connection that the neighbour has made, which takes what waits for it here. */
  sending: LinkState;
  roundTripMs?: number;
  waiting: Mailbox;
}

export interface LinkState {
  /** up, down or waiting */
  state: string;
  since?: string;
  why?: string;
  url?: string;
  node?: string;
}

export interface OtherDomain {
  domain: string;
  urls: string[];
  next: string;
  path: string[];
  cost: number;
}

export interface DomainLink {
  n1: string;
  n2: string;
  cost: number;
}

/** The path that a message to a user would take. */
export interface Trace {
  userId: string;
  domain?: string;
  local: boolean;
  version: number;
  path: string[];
  next?: string;
  cost: number;
  sending?: LinkState;
  waiting?: Mailbox;
}

/** A relay, as its network server knows it. */
export interface Relay {
  /** The network server, as the setting names it. */
  network: string;
  /** Empty if it is of another make. */
  version: string;
  clusters: { name: string; members: RelayMember[] }[];
  /** Uploaders and makers that report. */
  programs: RelayProgram[];
}

/** A collector. */
export interface RelayMember {
  id: string;
  address: string;
  port: number;
  /** up or lost */
  state: string;
  since?: string;
  /** Its last heartbeat. */
  seen?: string;
  /** Absent from programs of another make, and before the first one. */
  report?: RelayReport;
}

/** What a program told last. */
export interface RelayReport {
  /** uploader, collector or maker */
  program: string;
  id: string;
  host: string;
  spool: string;
  version: string;
  /** Since it started. */
  files: number;
  bytes: number;
  filesPerSecond: number;
  bytesPerSecond: number;
  waiting: RelayWaiting;
  /** Files that no rule matches, or that are none. */
  leftAlone: number;
  targets: RelayTarget[];
  failures: RelayFailure[];
  /** Why a collector refuses everything. */
  full?: string;
  /** When the network server heard that first. */
  fullSince?: string;
}

export interface RelayProgram extends RelayReport {
  seen?: string;
  /** It missed its reports. */
  silent: boolean;
}

export interface RelayWaiting {
  files: number;
  bytes: number;
  oldestSeconds: number;
}

/** A collector as an uploader sees it, or a cluster that has none. */
export interface RelayTarget {
  cluster: string;
  /** Empty for a cluster without a collector, as is the address. */
  id: string;
  address: string;
  /** up, down, held, lost or none */
  state: string;
  reason?: string;
  waiting: RelayWaiting;
  bytesPerSecond: number;
}

export interface RelayFailure {
  at?: string;
  /** The file; empty when it is about none. */
  name: string;
  /** Of an uploader: to whom, cluster/id, or "the network server"; of a collector: who sent. Empty for the spool itself. */
  where: string;
  reason: string;
  /** The file was moved to failed/. */
  final: boolean;
  /** How often, if more than once. */
  count?: number;
}

/** A service with its instances. */
export interface Service {
  name: string;
  instances: Instance[];
}

export interface Instance {
  service: string;
  instance: string;
  url: string;
  weight: number;
  meta?: Record<string, string>;
  /** Seconds after which it is gone unless it is renewed; absent for one that stays. */
  ttl?: number;
  since: string;
  /** registered, static or node */
  source: string;
  /** As the gateway of the node sees it; absent if it does not look. */
  health?: { state: string; since: string; reason?: string };
  inFlight?: number;
}

/** The settings of a node. */
export interface Settings {
  /** Absent where no meta server has any. */
  source?: SettingsSource;
  pending: PendingSetting[];
  /** The oldest first. */
  troubles: SettingsTrouble[];
  /** In the order of a settings file. */
  settings: Setting[];
}

export interface SettingsSource {
  url: string;
  profile: string;
  commit: string;
  files: string[];
  since?: string;
  confirmed?: string;
  following: boolean;
}

/** What takes effect at the next start; without a value it is a list of things. */
export interface PendingSetting {
  key: string;
  value?: string;
}

export interface SettingsTrouble {
  kind: string;
  since: string;
  commit?: string;
  text: string[];
}

export interface Setting {
  key: string;
  value: string;
  /** default, file, repository, environment or flag */
  from: string;
  place?: string;
  live: boolean;
}
