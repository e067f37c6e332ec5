output "artifact_bucket" {
  description = "Name of the bucket of MLflow's artifacts."
  value       = module.artifact_bucket.name
}

output "artifact_policy_json" {
  description = "Policy for the role that MLflow runs as."
  value       = module.artifact_bucket.policy_json
}

output "cluster_endpoint" {
  description = "Address of the EKS API, or null."
  value       = one(module.cluster[*].endpoint)
}

output "neo4j_bolt_uri" {
  description = "Address for Bolt clients, or null."
  value       = one(module.neo4j[*].bolt_uri)
}
