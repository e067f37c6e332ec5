#!/bin/bash
# Restores everything into empty namespaces: restore.sh [FOLDER]
# FOLDER has postgres/, neo4j/, buckets/ and chain/ as the CronJobs made them; without it they are in the claim `backups`
# already. Wants kubectl with the cluster's own rights, and the secrets of the deployment that was lost.
set -euo pipefail
cd "$(dirname "$0")/.."
backup=${1:-}

kubectl apply -f base/namespaces/drl-data.yaml -f components/backups/claim.yaml
if [ -n "$backup" ]; then
  image=$(kubectl kustomize base | sed -n 's/^ *image: \(.*\/postgres:.*\)$/\1/p' | head -n 1)
  sed "s|image: postgres|image: $image|" restore/loader-pod.yaml | kubectl apply -f -
  kubectl -n drl-data wait --for=condition=Ready --timeout=300s pod/loader
  # Part by part: the mode of the claim's own folder is not ours to set.
  tar -C "$backup" -cf - postgres neo4j buckets chain | kubectl -n drl-data exec -i loader -- tar -C /backups -xf -
  kubectl -n drl-data delete pod loader --wait
fi

kubectl apply -k restore
for part in postgres neo4j buckets chain; do
  kubectl -n drl-data wait --for=condition=Complete --timeout=4h "job/restore-$part"
  kubectl -n drl-data logs "job/restore-$part" --tail=1
done
kubectl -n drl-data delete job -l app.kubernetes.io/component=backup
echo "restored; now start the rest: kubectl apply -k deployment/k8s (or your own overlay)"
