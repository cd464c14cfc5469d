#!/bin/bash
# This checkout, and studies of it, on the machines of a cluster file:
#
#     bash tools/cluster.sh up ray_cluster.yaml                       make the token if there is none, and `ray up`
#     bash tools/cluster.sh sync ray_cluster.yaml                     copy the checkout to all nodes; start those that are off
#     bash tools/cluster.sh submit ray_cluster.yaml STUDY FLAGS...    the same, then `ray submit`
#
# `ray submit` alone copies one file, the study: the packages stay what they were. The commit travels in a small file.
set -eu
usage() { sed -n '3,5s/^#     //p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
here="$(cd "$(dirname "$0")/.." && pwd)"
word="$1" file="$2"
shift 2
PATH="$here/.venv/bin:$PATH"
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" python -m mss_core.study.origin

case "$word" in
up)
    (umask 077; ray get-auth-token --generate > /dev/null)
    chmod 600 ~/.ray/auth_token               # Ray's default lets everybody on this machine read it
    # Ray's newer autoscaler takes the head of a cluster of given machines for a worker, and leaves one out.
    grep -Eq '^ *type: *local' "$file" && export RAY_UP_enable_autoscaler_v2=0
    exec ray up -y --no-config-cache "$file" "$@"
    ;;
sync | submit)
    [ "$word" = sync ] || [ $# -ge 1 ] || usage
    # The study runs on the head, which does not see this shell's variables.
    if [ "$word" = submit ]; then
        [ -t 1 ] || set -- "$@" --lines       # what SSH writes to is a terminal all the same
        [ -z "${MSS_NODES:-}" ] || set -- "$@" --nodes "$MSS_NODES"
        [ -z "${MSS_NODES_SECONDS:-}" ] || set -- "$@" --nodes-seconds "$MSS_NODES_SECONDS"
    fi
    ray rsync-up "$file"
    ray exec --no-config-cache "$file" 'python -m mss_core.study.execution.spread' ||
        echo "not every node has this checkout; the study will name those that do not" >&2
    [ "$word" = sync ] && exit
    study="$1"
    shift
    quoted=()                                 # Ray joins words by blanks for a shell on the head, and quotes none
    for each in "$@"; do quoted+=("$(printf '%q' "$each")"); done
    exec ray submit --no-config-cache "$file" "$study" -- "${quoted[@]}"
    ;;
*) usage ;;
esac
