variable "region" {
  description = "AWS region of everything here."
  type        = string
  default     = "eu-west-1"
}

variable "artifact_bucket" {
  description = "Name of the bucket of MLflow's artifacts."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,57}$", var.artifact_bucket))
    error_message = "3 to 58 lower case letters, digits and hyphens: NAME-logs is a bucket too."
  }
}

variable "cidr" {
  description = "Addresses of the network."
  type        = string
  default     = "10.60.0.0/16"
}

variable "enable_network" {
  description = "Make the network."
  type        = bool
  default     = false
}

variable "enable_cluster" {
  description = "Make the EKS cluster; wants the network."
  type        = bool
  default     = false

  validation {
    condition     = !var.enable_cluster || var.enable_network
    error_message = "Set enable_network too."
  }
}

variable "enable_neo4j" {
  description = "Make the machine for Neo4j; wants the network and neo4j_ami."
  type        = bool
  default     = false

  validation {
    condition     = !var.enable_neo4j || (var.enable_network && var.neo4j_ami != "")
    error_message = "Set enable_network and neo4j_ami too."
  }
}

variable "neo4j_ami" {
  description = "Image of the machine for Neo4j."
  type        = string
  default     = ""
}
