#!/bin/sh
# Twenty hosts as one job array: sbatch hosts.sh
#SBATCH --job-name=architect-host
#SBATCH --array=1-20
#SBATCH --cpus-per-task=8
#SBATCH --mem=20G
#SBATCH --time=08:00:00
# Two minutes before the time is up the host is drained: its agents are stopped, and their work is handed over.
#SBATCH --signal=B:TERM@120

exec architect host join dask://LOGIN:8786 \
    --root "$SCRATCH/architect-$SLURM_ARRAY_TASK_ID" \
    --name "$SLURMD_NODENAME-$SLURM_ARRAY_TASK_ID" \
    --slots 4 --tls-dir "$HOME/.config/architect-parallel/tls"
