-- +goose Up
ALTER TABLE accounts ADD COLUMN leaving BIGINT NOT NULL DEFAULT 0; -- 1: it is gone for everybody; only its rooms and its mailbox are still to be left
CREATE INDEX accounts_leaving ON accounts (number) WHERE leaving = 1;
