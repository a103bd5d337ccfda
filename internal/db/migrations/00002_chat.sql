-- +goose Up
INSERT INTO counters (name, value) VALUES ('rooms', 0);

CREATE TABLE chat_rooms (
    n          BIGINT PRIMARY KEY,         -- never used again
    id         TEXT   NOT NULL UNIQUE,
    name       TEXT   NOT NULL,
    banner     TEXT   NOT NULL,
    public     BIGINT NOT NULL,            -- 1 or 0
    low        BIGINT,                     -- the two of a one-to-one room
    high       BIGINT,
    creator    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    members    BIGINT NOT NULL,            -- how many there are
    last_seq   BIGINT NOT NULL,            -- 0: nothing was sent yet
    last_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX chat_rooms_pair ON chat_rooms (low, high);
CREATE INDEX chat_rooms_public ON chat_rooms (public, n);

CREATE TABLE chat_members (
    room     BIGINT NOT NULL,
    account  BIGINT NOT NULL,
    role     TEXT   NOT NULL,
    since    BIGINT NOT NULL,
    read_seq BIGINT NOT NULL,
    own      BIGINT NOT NULL,              -- messages of the member's own behind read_seq
    PRIMARY KEY (room, account)
);
CREATE INDEX chat_members_of ON chat_members (account, room);
CREATE INDEX chat_members_by_role ON chat_members (room, role, since, account);

CREATE TABLE chat_bans (
    room    BIGINT NOT NULL,
    account BIGINT NOT NULL,
    by_whom BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (room, account)
);

CREATE TABLE chat_messages (
    room       BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    id         TEXT   NOT NULL UNIQUE,
    author     BIGINT NOT NULL,
    client_id  TEXT,                       -- the author's own ID of it
    content    TEXT,                       -- JSON as it came; NULL: deleted
    at         BIGINT NOT NULL,
    edited_at  BIGINT NOT NULL,            -- 0: never
    edited_by  BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,            -- 0: never
    deleted_by BIGINT NOT NULL,
    versions   BIGINT NOT NULL,            -- how many it had before
    PRIMARY KEY (room, seq)
);
CREATE UNIQUE INDEX chat_messages_sent ON chat_messages (room, author, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX chat_messages_of ON chat_messages (author, room, seq);

CREATE TABLE chat_versions (
    room    BIGINT NOT NULL,
    seq     BIGINT NOT NULL,
    n       BIGINT NOT NULL,
    content TEXT,                          -- NULL: nothing is kept of it
    at      BIGINT NOT NULL,               -- when it was changed, and by whom
    by_whom BIGINT NOT NULL,
    deleted BIGINT NOT NULL,               -- 1: by being deleted
    PRIMARY KEY (room, seq, n)
);

CREATE TABLE chat_words (
    room BIGINT NOT NULL,
    word TEXT   NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (room, word, seq)
);

-- Rooms that are gone, whose rows in the other tables are cleared away bit by bit.
CREATE TABLE chat_gone (
    room BIGINT PRIMARY KEY
);
