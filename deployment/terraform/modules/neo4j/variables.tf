variable "name" {
  description = "Prefix of names."
  type        = string
}

variable "ami" {
  description = "Image of an arm64 machine."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "cidr" {
  description = "Addresses that may use Bolt."
  type        = string
}

variable "subnet_id" {
  description = "A private subnet."
  type        = string
}

variable "key_arn" {
  description = "KMS key of the volume."
  type        = string
}
