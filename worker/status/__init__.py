"""How the installation is: looked at from outside, judged, said in words and in metrics.

kafka.py, store.py ─▶ survey.py ─▶ facts.py ─▶ motion.py ─▶ condition.py ─▶ `status`, lookout.py (metrics)
what is asked                      what is     what moved   what it means
"""
