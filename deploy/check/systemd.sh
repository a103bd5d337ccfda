# Runs a systemd as process 1 of a machine of its own, which sees this one's files and changes none of them: all that it writes
# is gone with it. It starts nothing but what try.sh says, whose output is the output. Arguments: an empty folder with try.sh,
# and with files/ that the machine gets over its own. Needs root and a cgroup to be in.
set -euo pipefail
folder=$1
if [ "${2:-}" != inside ]; then
	cgroups=(/sys/fs/cgroup/unified /sys/fs/cgroup/systemd)
	[ -e /sys/fs/cgroup/cgroup.controllers ] && cgroups=(/sys/fs/cgroup)
	mine=()
	for c in "${cgroups[@]}"; do
		[ -d "$c" ] || continue
		mine+=("$c/$(basename "$folder")")
		mkdir "${mine[-1]}"
	done
	(
		for c in "${mine[@]}"; do echo "$BASHPID" >"$c/cgroup.procs"; done
		exec unshare --cgroup --pid --mount --uts --ipc --net --fork --kill-child bash "$0" "$folder" inside
	) >"$folder/log" 2>&1 && ok=0 || ok=$?
	for c in "${mine[@]}"; do find "$c" -depth -type d -exec rmdir {} +; done
	cat "$folder/log" "$folder/out" 2>/dev/null || true
	exit "$ok"
fi
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/machine"
mkdir "$folder"/machine/{changes,work,root}
root=$folder/machine/root
mount -t overlay -o "lowerdir=/,upperdir=$folder/machine/changes,workdir=$folder/machine/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
	mkdir "$root"/sys/fs/cgroup/{systemd,unified}
	mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
fi
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/run/out"
mount --bind "$folder" "$root/run/out"
cp -r "$folder/files/." "$root"
cp "$folder/try.sh" "$root/run/try.sh"
# Nothing of this machine is started.
for target in sysinit basic; do printf '[Unit]\nDescription=Nothing\n' >"$root/etc/systemd/system/$target.target"; done
cat >"$root/etc/systemd/system/try.target" <<-END
	[Unit]
	Requires=try.service
END
cat >"$root/etc/systemd/system/try.service" <<-END
	[Unit]
	DefaultDependencies=no
	[Service]
	Type=oneshot
	ExecStart=/bin/bash /run/try.sh
	StandardOutput=file:/run/out/out
	StandardError=inherit
	ExecStopPost=/bin/systemctl exit
END
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
mount --make-rshared /
exec /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=try.target --log-target=null --show-status=no
