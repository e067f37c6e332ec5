output "bolt_uri" {
  description = "Address for Bolt clients, inside the network."
  value       = "bolt://${aws_instance.this.private_dns}:7687"
}
