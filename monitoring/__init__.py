"""Labels that mature, evidence from Evidently, and a policy that turns evidence into a decision with reasons."""
