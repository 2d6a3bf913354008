"""How well troubles of networks are told from health: networks with known ground truth, and other tools beside this one."""
