variable "cidr" {
  description = "Addresses of the network."
  type        = string
}

variable "zones" {
  description = "Availability zones, each of which gets a subnet; EKS wants two or more."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2
    error_message = "Name two zones or more."
  }
}
