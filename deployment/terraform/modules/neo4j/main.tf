# A machine for Neo4j in a private subnet. What is installed on it is not here yet.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

resource "aws_security_group" "this" {
  name        = "${var.name}-neo4j"
  description = "Bolt from inside the network, nothing out"
  vpc_id      = var.vpc_id

  ingress {
    description = "Bolt"
    from_port   = 7687
    to_port     = 7687
    protocol    = "tcp"
    cidr_blocks = [var.cidr]
  }
}

resource "aws_iam_role" "this" {
  name = "${var.name}-neo4j"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name = "${var.name}-neo4j"
  role = aws_iam_role.this.name
}

resource "aws_instance" "this" {
  ami                         = var.ami
  instance_type               = "m7g.large"
  subnet_id                   = var.subnet_id
  vpc_security_group_ids      = [aws_security_group.this.id]
  iam_instance_profile        = aws_iam_instance_profile.this.name
  associate_public_ip_address = false
  ebs_optimized               = true
  monitoring                  = true

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = var.key_arn
    volume_size = 50
  }
}
