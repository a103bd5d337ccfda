package domains

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// copied is what the last good copy holds.
type copied struct {
	From    string    `json:"from"` // see SourceOptions.URL
	Since   time.Time `json:"since"`
	Hash    string    `json:"hash"` // tells a copy that was damaged
	Network *Network  `json:"network"`
}

// maxCopy is the most that a copy may have, in bytes.
const maxCopy = MaxJSON + 64<<10

// recall takes the last good copy, if there is one. What is wrong with it is
// logged, and the file left as it is until the next good copy replaces it.
func (s *Source) recall() {
	c, err := readCopy(s.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		if _, ok := c.Network.Domain(s.o.Self); !ok {
			err = fmt.Errorf("it has no domain %s, which is this one", s.o.Self)
		}
	}
	if err != nil {
		s.ledger.raise(saving, newTrouble(kindCopy, "the last good copy of the network (%s) cannot be used: %w", s.o.File, err), true)
		return
	}
	s.held = held{network: c.Network, from: c.From, since: c.Since, stored: true, turn: 1}
	s.current.Store(c.Network)
	s.ledger.metrics.version.Set(float64(c.Network.Version))
}

func readCopy(name string) (copied, error) {
	var c copied
	content, err := readLimited(name, maxCopy)
	if err != nil {
		return c, err
	}
	if len(content) > maxCopy {
		return c, errors.New("it is too large")
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return c, err
	}
	if c.Network == nil || c.Hash != c.Network.Hash() {
		return c, errors.New("it is damaged")
	}
	return c, nil
}

// save writes the current description as the last good copy; if that fails, it
// is tried again.
func (s *Source) save() {
	if s.saveOnce() != nil {
		select {
		case s.unsaved <- struct{}{}:
		default: // it is to be tried already
		}
	}
}

func (s *Source) saveOnce() error {
	s.mu.Lock()
	h := s.held
	s.mu.Unlock()
	text, err := json.Marshal(copied{From: h.from, Since: h.since, Hash: h.network.Hash(), Network: h.network})
	if err == nil {
		// For its owner only: hooks' URLs may hold passwords.
		err = lifecycle.ReplaceFile(s.o.File, append(text, '\n'))
	}
	if err != nil {
		s.ledger.raise(saving, newTrouble(kindDisk, "the last good copy of the network is not written, and is tried again: %w", err), true)
		return err
	}
	s.ledger.clear(saving)
	return nil
}

// keepSaved tries again to write what could not be written.
func (s *Source) keepSaved(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.unsaved:
		}
		for failures := 1; ctx.Err() == nil; failures++ {
			s.wait(ctx, s.delay(failures), nil)
			if ctx.Err() != nil || s.saveAgain() == nil {
				break
			}
		}
	}
}

// saveAgain saves while nothing else is being taken.
func (s *Source) saveAgain() error {
	s.taking.Lock()
	defer s.taking.Unlock()
	return s.saveOnce()
}
