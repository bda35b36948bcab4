#!/bin/sh
# Like the published image's: "dockerd" and options of it run the daemon, prepared for a
# container; anything else runs as it is. Without "dockerd" the published one adds hosts with
# TLS, which this one does not.
set -e

case "$1" in
    '' | -*) set -- dockerd --host=unix:///var/run/docker.sock "$@" ;;
esac
if [ "$1" != dockerd ]; then
    exec "$@"
fi

# The published one does not do this. There is no Docker Hub here, but one registry has the base images.
# The daemon refuses what both its options and its file say.
grep -qs registry-mirrors /etc/docker/daemon.json || set -- "$@" --registry-mirror=http://10.243.0.2:5000

# The container may have been killed and started again.
rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid

# The rest is what Docker's own script "dind" does. containerd asks this variable whether AppArmor
# can be used.
export container=docker
if [ -d /sys/kernel/security ] && ! mountpoint -q /sys/kernel/security; then
    mount -t securityfs none /sys/kernel/security || echo "no securityfs: AppArmor may not work" >&2
fi
mountpoint -q /tmp || mount -t tmpfs none /tmp

# In version 2, a cgroup with processes cannot pass controllers on: they move to one below.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/init
    # Whoever enters the container meanwhile is in the way again.
    until
        while read -r process; do
            echo "$process" > /sys/fs/cgroup/init/cgroup.procs || true
        done < /sys/fs/cgroup/cgroup.procs 2> /dev/null
        sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
    do :; done
fi

mount --make-rshared /
exec "$@"
