# shellcheck shell=bash
# What comes from Debian: packages installed on the machine, and programs only unpacked into the cache.

# A file or a command that must be there, and the package that brings it.
NEEDED=(
  containerd=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins
  ip=iproute2 nsenter=util-linux iptables=iptables ipset=ipset conntrack=conntrack
  buildah=buildah debootstrap=debootstrap openssl=openssl pgrep=procps
  /etc/ssl/certs/ca-certificates.crt=ca-certificates
)
# Packages of which only the files are wanted: the first would run as a service, the second replace the machine's own busybox.
UNPACKED=(prometheus busybox-static)
PATH=$CACHE/debian-prometheus/usr/bin:$PATH

deps() {
  local pair package missing=() absent=()
  for pair in "${NEEDED[@]}"; do
    command -v "${pair%=*}" >/dev/null || [ -e "${pair%=*}" ] || missing+=("${pair#*=}")
  done
  for package in "${UNPACKED[@]}"; do [ -d "$CACHE/debian-$package" ] || absent+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || [ ${#absent[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not a Debian machine; please install by hand: ${missing[*]} ${absent[*]}"
  say "fetching Debian packages: ${missing[*]} ${absent[*]}"
  apt-get update -qq
  [ ${#missing[@]} = 0 ] || without_services env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  for package in "${absent[@]}"; do unpack "$package"; done
}

without_services() { # CMD...: packages that CMD installs start no daemon
  local policy=/usr/sbin/policy-rc.d status=0
  [ ! -e $policy ] || { "$@"; return; }
  printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy
  "$@" || status=$?
  rm -f $policy
  return $status
}

unpack() { # PACKAGE
  local download folder=$CACHE/debian-$1
  download=$(mktemp -d)
  chmod 777 "$download"   # apt fetches as a user of its own
  (cd "$download" && apt-get download -qq "$1")
  rm -rf "$folder.part"; mkdir -p "$folder.part"
  dpkg-deb --extract "$download/$1"_*.deb "$folder.part"
  mv -T "$folder.part" "$folder"
  rm -rf "$download"
}
