/**
 * Client for Switchboard: one WebSocket that carries messages both ways,
 * RELIABLE or FAST, to one user or many. See README.md for how to use it.
 *
 * @packageDocumentation
 */
export type { BackoffOptions } from "./backoff.js";
export { Client, newReference, type ClientEvents, type ClientOptions, type Message } from "./client.js";
export type { Clock, State, StateChange } from "./connector.js";
export { SwitchboardError, type ErrorKind } from "./errors.js";
export type { Handler } from "./events.js";
export type { Feature, Outgoing, SignInOptions } from "./frames.js";
export type { WebSocketConstructor, WebSocketLike } from "./link.js";
export type {
  MatchCalls,
  Matched,
  MatchLeft,
  MatchNews,
  MatchProperties,
  MatchQuery,
  MatchRange,
  MatchRequest,
  MatchTicket,
} from "./matches.js";
export { NearbyView, type Crowd, type NearbyAnswer, type NearbyArea, type NearbyCalls, type NearbyNews, type Neighbour, type Position } from "./nearby.js";
export type { Receipt } from "./receipts.js";
export type {
  Room,
  RoomCalls,
  RoomChange,
  RoomEntry,
  RoomList,
  RoomMark,
  RoomMember,
  RoomMembers,
  RoomMembership,
  RoomMessage,
  RoomMessages,
  RoomNews,
  RoomRole,
  RoomSent,
} from "./rooms.js";
