output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.bucket
}

output "key_arn" {
  description = "KMS key of its objects."
  value       = aws_kms_key.this.arn
}

output "policy_json" {
  description = "What a program needs that reads and writes artifacts: no deletion of versions, no lock passed over."
  value       = data.aws_iam_policy_document.use.json
}

data "aws_iam_policy_document" "use" {
  statement {
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.this.arn]
  }

  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this.arn}/*"]
  }

  statement {
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this.arn]
  }
}
