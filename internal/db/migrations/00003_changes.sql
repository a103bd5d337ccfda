-- +goose Up
ALTER TABLE chat_rooms ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;    -- how many edits and deletions there were
ALTER TABLE chat_messages ADD COLUMN changed BIGINT NOT NULL DEFAULT 0; -- the number of the last that this message had; 0: none
CREATE INDEX chat_messages_changed ON chat_messages (room, changed) WHERE changed > 0;
