"""How alike two pictures are: LPIPS, PSNR, SSIM. What scores are made of, and what networks are trained by."""
