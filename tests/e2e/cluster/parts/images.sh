# shellcheck shell=bash
# Images, built with buildah. The base images are put together from Debian packages, because no registry is needed.

base() {
  has_image localhost/pause:e2e || base_pause
  has_image localhost/python-base:e2e || base_python
}

has_image() { buildah inspect --type image "$1" >/dev/null 2>&1; }

image_id() { # IMAGE: the digest of its configuration, by which containerd knows it too
  buildah inspect --type image --format '{{.FromImageID}}' "$1" 2>/dev/null || die "no image $1 in buildah's store; run: $0 images"
}

exported() { # IMAGE ID: the path of its archive, which is kept: writing one takes longer than booting the control plane
  local stem archive
  stem=$(basename "$1") stem=$CACHE/images/${stem/:/-}   # an archive's path may hold no colon
  archive=$stem-$2.tar
  if [ ! -e "$archive" ]; then
    mkdir -p "$CACHE/images"
    buildah push -q "$1" "oci-archive:$archive.$$:$1"
    rm -f "$stem"-*.tar
    mv "$archive.$$" "$archive"
  fi
  echo "$archive"
}

base_pause() { # what holds a pod's network namespace open
  local container
  container=$(buildah from scratch)
  buildah copy -q "$container" "$(find "$CACHE/debian-busybox-static" -path '*/bin/busybox')" /bin/busybox >/dev/null
  buildah config --entrypoint '["/bin/busybox","sleep","2147483647"]' --user 65535:65535 "$container"
  buildah commit -q --rm "$container" localhost/pause:e2e >/dev/null
}

base_python() { # Debian bookworm's Python is the 3.11 of the default base
  local root container log=$CACHE/debootstrap.log
  say "bootstrapping localhost/python-base:e2e"
  root=$(mktemp -d)
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$root" "$(debian_mirror)" \
    >"$log" 2>&1 || die "debootstrap failed; see $log"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale}/*
  container=$(buildah from scratch)
  buildah add -q "$container" "$root" / >/dev/null
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
  buildah commit -q --rm "$container" localhost/python-base:e2e >/dev/null
  rm -rf "$root"
}

debian_mirror() { # the one that this machine's apt uses
  # shellcheck disable=SC2016  # apt's variables, not the shell's
  apt-get indextargets --format '$(CREATED_BY) $(LABEL) $(COMPONENT) $(REPO_URI)' | awk '$1 == "Packages" && $2 == "Debian" && $3 == "main" { print $4; exit }'
}

images() { # the project's; once unchanged, a second or two
  local options
  settings=$(mktemp -d)
  trap 'rm -rf "$settings"' EXIT
  "$(find_python)" "$HERE/parts/pip_settings.py" "$settings" >"$settings/options"
  mapfile -t options <"$settings/options"
  build_image localhost/loadstone-operator:dev operator/Dockerfile
  build_image localhost/loadstone-runner:dev runner-image/Dockerfile
  build_image localhost/loadstone-target:dev tests/e2e/target/Dockerfile
  build_image localhost/loadstone-scripts:dev examples/image/Dockerfile "$ROOT/examples/image" --build-arg RUNNER=localhost/loadstone-runner:dev
}

build_image() { # IMAGE DOCKERFILE [CONTEXT OPTION...]
  # shellcheck disable=SC2153
  # chroot and the host's network: a sandbox may allow neither the limits that runc sets nor a network of the build's own.
  buildah build --layers --force-rm --isolation chroot --network host "${options[@]}" --build-arg BASE="${BASE:-localhost/python-base:e2e}" \
    --file "$ROOT/$2" --tag "$1" "${@:4}" "${3:-$ROOT}" >"$settings/log" 2>&1 || { cat "$settings/log" >&2; die "$1 could not be built"; }
}
