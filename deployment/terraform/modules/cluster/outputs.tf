output "endpoint" {
  description = "Address of the API, inside the network."
  value       = aws_eks_cluster.this.endpoint
}
