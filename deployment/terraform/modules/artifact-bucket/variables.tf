variable "name" {
  description = "Name of the bucket; its logs go to NAME-logs."
  type        = string
}

variable "retention_days" {
  description = "Days for which a new object is locked."
  type        = number

  validation {
    condition     = var.retention_days >= 1
    error_message = "A lock of at least a day."
  }
}

variable "deletion_of_locks" {
  description = "COMPLIANCE: nobody may delete a locked object; GOVERNANCE: whoever has that right may."
  type        = string
  default     = "COMPLIANCE"

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.deletion_of_locks)
    error_message = "COMPLIANCE or GOVERNANCE."
  }
}

variable "noncurrent_days" {
  description = "Days after which a replaced version goes."
  type        = number
}

variable "log_prefix" {
  description = "Prefix of the access logs in NAME-logs."
  type        = string
}

variable "log_expiry_days" {
  description = "Days for which access logs are kept."
  type        = number
}
