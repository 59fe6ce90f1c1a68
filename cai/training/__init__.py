"""SFT and DPO. `tuning` holds the parameters and costs no import; the rest imports torch."""
