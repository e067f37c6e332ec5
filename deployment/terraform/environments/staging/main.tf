# Staging: MLflow's artifacts; the rest when its switch is set.
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
      environment = "staging"
      managed_by  = "terraform"
    }
  }
}

module "artifact_bucket" {
  source = "../../modules/artifact-bucket"

  name            = var.artifact_bucket
  retention_days  = 365
  noncurrent_days = 400
  log_prefix      = "artifacts/"
  log_expiry_days = 400
}

module "network" {
  source = "../../modules/network"
  count  = var.enable_network ? 1 : 0

  cidr  = var.cidr
  zones = ["${var.region}a", "${var.region}b"]
}

module "cluster" {
  source = "../../modules/cluster"
  count  = var.enable_cluster ? 1 : 0

  name               = "drl-staging"
  kubernetes_version = "1.34"
  subnet_ids         = module.network[0].private_subnet_ids
  key_arn            = module.artifact_bucket.key_arn
}

module "neo4j" {
  source = "../../modules/neo4j"
  count  = var.enable_neo4j ? 1 : 0

  name      = "drl-staging"
  ami       = var.neo4j_ami
  vpc_id    = module.network[0].vpc_id
  cidr      = var.cidr
  subnet_id = module.network[0].private_subnet_ids[0]
  key_arn   = module.artifact_bucket.key_arn
}
