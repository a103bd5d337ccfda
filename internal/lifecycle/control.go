package lifecycle

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// controlName is the control socket's file in the data folder.
	controlName = "control.sock"
	// makingName is the folder in which it is made: one that only its owner may
	// enter, so that nobody connects before the socket's own mode is set.
	makingName = ".control"
	// maxSocketPath is the longest path that every system of ours takes for a
	// socket: 103 bytes on macOS, 107 on Linux.
	maxSocketPath = 103
)

// ErrPathTooLong says that the data folder's path is too long for a socket in it.
var ErrPathTooLong = errors.New("the path of the data folder is too long for a control socket in it")

// ControlPath returns where the control socket of a data folder is.
func ControlPath(dir string) string { return filepath.Join(dir, controlName) }

// ListenControl makes the control socket of a data folder, of mode 0600, and
// takes the place of one that a process left behind that was killed: the caller
// holds the folder's lock. Closing the listener removes it.
func ListenControl(dir string) (net.Listener, error) {
	path := ControlPath(dir)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%w: %s has %d bytes, and may have %d", ErrPathTooLong, path, len(path), maxSocketPath)
	}
	making := filepath.Join(dir, makingName)
	if err := os.RemoveAll(making); err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	if err := os.Mkdir(making, 0o700); err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	l, err := listenIn(making, path)
	if err = errors.Join(err, os.RemoveAll(making)); err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	return l, nil
}

// listenIn makes a socket in a folder and moves it to its place.
func listenIn(making, path string) (net.Listener, error) {
	inside := filepath.Join(making, "s") // no longer than its later path
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: inside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it knows the wrong path
	if err = os.Chmod(inside, 0o600); err == nil {
		err = os.Rename(inside, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &control{Listener: l, path: path}, nil
}

// control is a listener that removes its socket when it is closed.
type control struct {
	net.Listener
	path string
}

// Close implements net.Listener.
func (c *control) Close() error {
	err := c.Listener.Close()
	if err == nil {
		err = os.Remove(c.path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody has tidied up
	}
	return err
}

// DialControl connects to the control socket of a data folder. The error says in
// a sentence why it cannot.
func DialControl(dir string) (net.Conn, error) {
	path := ControlPath(dir)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%w: %s", ErrPathTooLong, path)
	}
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("no node runs on the data folder %s: there is no %s", dir, controlName)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the control socket %s is not yours to open: run this as the user that runs the node", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no node runs on the data folder %s: the last one was killed", dir)
	}
	return nil, fmt.Errorf("connect to the control socket: %w", err)
}
