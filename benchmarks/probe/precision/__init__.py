"""What a probe says of models with fresh weights whose authors trained them: findings of severity warning are to be rare, and true."""
