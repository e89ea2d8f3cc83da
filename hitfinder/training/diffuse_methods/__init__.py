"""The methods that diffuse models are measured against, as functions of prepared frames."""
