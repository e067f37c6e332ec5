# What all environments share: where Terraform's state is kept.
terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project     = "drl"
      environment = "shared"
      managed_by  = "terraform"
    }
  }
}

module "state_bucket" {
  source = "./modules/artifact-bucket"

  name              = var.state_bucket
  retention_days    = 1
  noncurrent_days   = 365
  log_prefix        = "state/"
  log_expiry_days   = 365
  deletion_of_locks = "GOVERNANCE"
}
