variable "region" {
  description = "AWS region of everything here."
  type        = string
  default     = "eu-west-1"
}

variable "state_bucket" {
  description = "Name of the bucket of Terraform's state; the whole world shares these names."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,62}$", var.state_bucket))
    error_message = "3 to 63 lower case letters, digits and hyphens."
  }
}
