#!/usr/bin/env bash
# A Slurm of one node on loopback, for the tests: Debian's slurm-wlm and munge, installed where they are missing.
# Started again it begins anew. Needs root. The configuration is the file that SLURM_CONF names; the caller exports it.
set -euo pipefail
: "${SLURM_CONF:?name the configuration file to write}"
[ "$(id -u)" = 0 ] || { echo "error: a Slurm of its own needs root" >&2; exit 1; }

for program in slurmctld slurmd munged sbatch; do
  if ! command -v "$program" > /dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge > /dev/null
    break
  fi
done

here=$(dirname "$SLURM_CONF")
if [ -e "$SLURM_CONF" ] && ! grep -q 'written by tests/slurm/start.sh' "$SLURM_CONF"; then
  echo "error: $SLURM_CONF is another Slurm's; name a file of its own" >&2
  exit 1
fi
# Waited for, since they write their state when they end.
for _ in $(seq 50); do
  pkill -f "^slurm(ctld|d) -f $SLURM_CONF" || break
  sleep 0.2
done
rm -rf "$here"/{state,spool,log}
mkdir -p "$here"/{state,spool,log}
host=$(hostname -s)

if ! munge -n < /dev/null > /dev/null 2>&1; then
  mkdir -p /run/munge /var/log/munge /var/lib/munge /etc/munge
  chmod 755 /run/munge
  [ -s /etc/munge/munge.key ] || { head -c 1024 /dev/urandom > /etc/munge/munge.key; chmod 400 /etc/munge/munge.key; }
  chown -R munge: /run/munge /var/log/munge /var/lib/munge /etc/munge
  runuser -u munge -- /usr/sbin/munged --force
fi

# More CPUs than there are, so that several small jobs run at once; no cgroups, no accounting, no waiting.
cat > "$SLURM_CONF" << END
# written by tests/slurm/start.sh
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
# A requeued job waits as long as its credential lasts.
AuthInfo=cred_expire=5
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=20
MinJobAge=3600
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/log/slurmctld.log
SlurmdLogFile=$here/log/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
END

slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 60); do
  if [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ]; then
    exit 0
  fi
  sleep 0.5
done
echo "error: Slurm did not become ready; the end of its logs:" >&2
tail -n 20 "$here"/log/*.log >&2
exit 1
