"""A StyleGAN2 tri-plane generator (EG3D) in plain PyTorch; reads published weights and the project's own."""
