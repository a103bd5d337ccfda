package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// box is a container: what is run in it, and what it sees.
type box struct {
	Root    string // of the unpacked image
	Network string // the name of a network namespace
	Host    string
	Hosts   string // the file of that; empty for none
	UID     int
	Dir     string
	Args    []string
	Env     []string
	Mounts  []mount
}

// mount is a file or folder that is there besides the image.
type mount struct {
	From, To string
	ReadOnly bool
}

// enter makes this process the box's program. It returns only when it fails.
func enter(spec string) error {
	runtime.LockOSThread() // namespaces and root are a thread's until it calls exec
	var b box
	if err := json.Unmarshal([]byte(spec), &b); err != nil {
		return err
	}
	for _, do := range []func() error{b.leave, b.furnish, b.drop} {
		if err := do(); err != nil {
			return err
		}
	}
	return fmt.Errorf("start %s: %w", b.Args[0], unix.Exec(b.Args[0], b.Args, b.Env))
}

// leave goes where the machine's network and mounts are out of sight.
func (b box) leave() error {
	network, err := os.Open("/run/netns/" + b.Network)
	if err != nil {
		return err
	}
	defer network.Close()
	if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("leave the machine's mounts: %w", err)
	}
	if err := unix.Sethostname([]byte(b.Host)); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// furnish mounts what the box sees. Where it mounts something the image's unpacked folder gets an
// empty file or folder, as it does by engines.
func (b box) furnish() error {
	if err := bind(b.Root, b.Root, false); err != nil {
		return err
	}
	mounts := append([]mount{{"/proc", "/proc", true}}, b.Mounts...)
	if b.Hosts != "" {
		mounts = append(mounts, mount{b.Hosts, "/etc/hosts", true})
	}
	for _, m := range mounts {
		if err := bind(m.From, filepath.Join(b.Root, m.To), m.ReadOnly); err != nil {
			return err
		}
	}
	return seal(b.Root)
}

func bind(from, to string, readOnly bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if _, missing := os.Stat(to); missing != nil {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", from, to, err)
	}
	if readOnly {
		return seal(to)
	}
	return nil
}

// seal has nobody write at a mount.
func seal(at string) error {
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", at, err)
	}
	return nil
}

// drop changes the root, and gives up whatever root may do.
func (b box) drop() error {
	if err := unix.Chroot(b.Root); err != nil {
		return err
	}
	if err := unix.Chdir(b.Dir); err != nil {
		return fmt.Errorf("go to %s: %w", b.Dir, err)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	return errors.Join(
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
		unix.Setgroups(nil), unix.Setresgid(b.UID, b.UID, b.UID), unix.Setresuid(b.UID, b.UID, b.UID),
	)
}

// addresses make an /etc/hosts: a name may have several.
func addresses(of map[string][]net.IP) string {
	text := "127.0.0.1 localhost\n"
	for name, all := range of {
		for _, ip := range all {
			text += ip.String() + " " + name + "\n"
		}
	}
	return text
}

// status returns a line of /proc/PID/status.
func status(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
