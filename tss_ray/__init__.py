"""tss_ray: diffusion super-resolution of image datasets on Ray, with denoising steps spent where there is texture."""
