-- +goose Up
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('accounts', 0), ('keys', 0);

CREATE TABLE accounts (
    number       BIGINT PRIMARY KEY,       -- that of the user ID
    username     TEXT   NOT NULL,          -- as it was written
    name_key     TEXT   NOT NULL UNIQUE,   -- in lower case
    password     TEXT   NOT NULL,          -- a hash, in the PHC string format
    version      BIGINT NOT NULL,          -- tokens of another one are refused
    display_name TEXT   NOT NULL,
    bio          TEXT   NOT NULL,
    avatar_url   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE account_sessions (
    id         TEXT   PRIMARY KEY,
    account    BIGINT NOT NULL REFERENCES accounts (number) ON DELETE CASCADE,
    turn       BIGINT NOT NULL,            -- of the refresh token that may be used
    address    TEXT   NOT NULL,            -- where it was begun
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX account_sessions_of ON account_sessions (account, used_at);
CREATE INDEX account_sessions_expiry ON account_sessions (expires_at);

CREATE TABLE account_blocks (
    account    BIGINT NOT NULL REFERENCES accounts (number) ON DELETE CASCADE,
    blocked    BIGINT NOT NULL REFERENCES accounts (number) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, blocked)
);
CREATE INDEX account_blocks_by ON account_blocks (blocked);

CREATE TABLE account_resets (
    hash       TEXT   PRIMARY KEY,         -- of the token
    account    BIGINT NOT NULL REFERENCES accounts (number) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX account_resets_of ON account_resets (account);

CREATE TABLE account_keys (
    id         TEXT   PRIMARY KEY,
    purpose    TEXT   NOT NULL,            -- access or refresh
    secret     TEXT   NOT NULL,            -- in base64
    created_at BIGINT NOT NULL
);
